"""Which kernels a run takes when none are named."""

from kmodlab.kernels import load_inventory
from kmodlab.lab import fleet


def test_a_run_on_secure_boot_leaves_out_machines_without_uefi() -> None:
    inventory = load_inventory()
    assert "6.12-arm64" in fleet(inventory, secureboot=False, group="nightly")
    secure = fleet(inventory, secureboot=True, group="nightly")
    assert secure and all(inventory[name].vm_firmware == "ovmf" for name in secure)
