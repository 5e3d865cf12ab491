"""An inventory of few kernels, and one of a kernel that the lab builds itself."""

from pathlib import Path

import pytest

from kmodlab.plan.kernels import Kernel, load_inventory

INVENTORY = """
all:
  vars: {vm_memory: 512, vm_cpus: 1, vm_boot_limit: 60}
  children:
    x86_64:
      vars: {kernel_arch: x86_64, kernel_package: amd64, vm_qemu: q, vm_machine: q35, vm_console: ttyS0}
      hosts:
        6.1-x86_64: {kernel_line: "6.1", kernel_suites: [bookworm, bookworm-security]}
        6.12-x86_64: {kernel_line: "6.12", kernel_suites: [trixie]}
        6.12-rt-x86_64: {kernel_line: "6.12", kernel_suites: [trixie], kernel_package: rt-amd64, vm_memory: 1024}
    arm64:
      vars: {kernel_arch: arm64, kernel_package: arm64, vm_qemu: q, vm_machine: virt, vm_console: ttyAMA0}
      hosts:
        6.12-arm64: {kernel_line: "6.12", kernel_suites: [trixie]}
    fleet:
      hosts: {6.1-x86_64: , 6.12-x86_64: }
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Kernel]:
    monkeypatch.setattr("kmodlab.plan.kernels.native_arch", lambda: "x86_64")
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    return load_inventory(path)


SOURCE = """
all:
  children:
    x86_64:
      vars: {vm_memory: 512, vm_cpus: 1, vm_boot_limit: 60, kernel_arch: x86_64, vm_qemu: q, vm_machine: q35, vm_console: ttyS0}
      hosts:
        6.12-debug-x86_64:
          {kernel_line: "6.12", kernel_suites: [trixie], kernel_package: debug, kernel_source: linux-source-6.12, KEY}
"""


def source_kernel(tmp_path: Path, more: str) -> Kernel:
    path = tmp_path / "hosts.yml"
    path.write_text(SOURCE.replace("KEY", more))
    return load_inventory(path)["6.12-debug-x86_64"]
