"""Which kernels an inventory has, and which of them a person means."""

from pathlib import Path

import pytest
from small_inventory import INVENTORY, inventory

from kmodlab.ground.errors import LabError
from kmodlab.plan.kernels import Kernel, default_fleet, load_inventory, select

__all__ = ["inventory"]


def ids(words: str, inventory: dict[str, Kernel]) -> list[str]:
    return [kernel.id for kernel in select([words], inventory, ["6.1-x86_64", "6.12-x86_64"])]


def test_a_hosts_own_variable_outranks_the_common_one(inventory: dict[str, Kernel]) -> None:
    assert inventory["6.12-x86_64"].vm_memory == 512
    assert inventory["6.12-rt-x86_64"].vm_memory == 1024
    assert inventory["6.12-rt-x86_64"].kernel_package == "rt-amd64"


def test_a_line_means_the_plain_flavour_of_this_machine(inventory: dict[str, Kernel]) -> None:
    assert ids("6.12", inventory) == ["6.12-x86_64"]


def test_a_unique_part_is_enough(inventory: dict[str, Kernel]) -> None:
    assert ids("rt 6.12-arm64", inventory) == ["6.12-rt-x86_64", "6.12-arm64"]


def test_nothing_said_is_the_fleet_and_all_is_all(inventory: dict[str, Kernel]) -> None:
    assert ids("", inventory) == ["6.1-x86_64", "6.12-x86_64"]
    assert ids("all 6.1", inventory) == list(inventory)


@pytest.mark.parametrize(("word", "expected"), [("6.13", "no kernel '6.13'.*6.12-arm64"), ("6", "could be 6.1-x86_64 or")])
def test_a_word_that_names_no_single_kernel_is_refused_with_what_there_is(
    inventory: dict[str, Kernel], word: str, expected: str
) -> None:
    with pytest.raises(LabError, match=expected):
        ids(word, inventory)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"6.1"', "6.1", "host 6.1-x86_64: kernel_line"),
        ("vm_cpus: 1", "vm_cpus: 0", "vm_cpus"),
        ("kernel_arch: arm64", "kernel_arch: arm65", "host 6.12-arm64: kernel_arch"),
        ("vm_cpus: 1", "vm_cpu_count: 1", "vm_cpu_count|vm_cpus"),
        ("vm_cpus: 1", "vm_cpus: '{{ so_many }}'", "host 6.1-x86_64: 'so_many' is undefined"),
        ("{6.1-x86_64: , 6.12-x86_64: }", "5", 'Invalid "hosts" entry for "fleet" group'),
        ("children:", "children: [", r"line \d+: YAML parsing failed"),
    ],
)
def test_a_broken_inventory_names_file_host_and_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY.replace(old, new, 1))
    with pytest.raises(LabError, match=rf"hosts\.yml.*({expected})"):
        load_inventory(path)


def test_only_another_architecture_is_compiled_for_across(inventory: dict[str, Kernel]) -> None:
    assert inventory["6.12-arm64"].cross == "aarch64-linux-gnu-" and inventory["6.12-arm64"].foreign
    assert inventory["6.12-x86_64"].cross == "" and not inventory["6.12-x86_64"].foreign


UML = """
all:
  children:
    um:
      vars: {vm_memory: 512, vm_cpus: 1, vm_boot_limit: 60, kernel_arch: um, kernel_package: um, KEYS}
      hosts:
        um-6.12: {kernel_line: "6.12", kernel_suites: [trixie]}
"""


def test_user_mode_linux_is_a_program_of_this_machine_and_needs_no_emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kmodlab.plan.kernels.native_arch", lambda: "x86_64")
    path = tmp_path / "hosts.yml"
    path.write_text(UML.replace("KEYS", "kernel_source: linux-source-6.12, kernel_config: a.config, kernel_patch: a.patch"))
    kernels = load_inventory(path)
    assert ids("um", kernels) == ["um-6.12"]
    kernel = kernels["um-6.12"]
    assert (kernel.uml, kernel.userland_arch, kernel.foreign, kernel.cross) == (True, "x86_64", False, "")
    assert [each.name for each in kernel.recipe] == ["a.config", "a.patch"]
    path.write_text(UML.replace(", KEYS", ""))
    with pytest.raises(LabError, match=r"um-6\.12: .*kernel_source is missing"):
        load_inventory(path)


def test_every_other_kernel_needs_one(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY.replace("vm_qemu: q, ", ""))
    with pytest.raises(LabError, match="vm_qemu is missing"):
        load_inventory(path)


def test_the_projects_own_inventory_holds_the_fleet_it_promises() -> None:
    promised = {"5.10-x86_64", "6.1-x86_64", "6.12-x86_64", "6.12-arm64", "7.3-x86_64"}
    assert promised <= set(default_fleet()) <= set(load_inventory())
    assert {"7.2-x86_64", "6.12-rt-x86_64"} <= set(load_inventory())
    for line in ("5.10", "6.1", "6.12", "7.3"):
        assert load_inventory()[f"{line}-arm64"].kernel_arch == "arm64"
    for name in ("6.1-armhf", "6.12-armhf", "6.12-sabrelite-armhf"):
        assert load_inventory()[name].kernel_arch == "armhf"
