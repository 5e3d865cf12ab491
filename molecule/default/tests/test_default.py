"""What the roles deployed can be loaded by name, and taints nothing but what it must. What it does, examples/tests knows."""

import re
from pathlib import PurePosixPath

import pytest
from testinfra.host import Host


@pytest.mark.parametrize("name", ["startstop", "chardev2", "procfs2", "hello-sysfs", "intrpt"])
def test_a_deployed_module_is_found_by_modprobe(host: Host, name: str) -> None:
    found = host.run("modinfo -F filename %s", name)
    assert found.rc == 0, found.stderr
    # Packed as the kernel's own are: those of 6.12 are.
    packing = PurePosixPath(host.check_output("modinfo -F filename loop")).name.removeprefix("loop.ko")
    assert found.stdout.strip() == f"/lib/modules/{host.check_output('uname -r')}/updates/kmodlab/{name}.ko{packing}"


def test_a_module_built_on_the_host_loads_by_its_name(host: Host) -> None:
    host.run_expect([0], "modprobe startstop && modprobe -r startstop")
    assert re.search("Short is the life of a kernel module$", host.check_output("dmesg"), re.MULTILINE)


def test_the_kernel_is_tainted_by_nothing_but_foreign_unsigned_modules(host: Host) -> None:
    out_of_tree, unsigned = 4096, 8192
    assert int(host.file("/proc/sys/kernel/tainted").content_string) & ~(out_of_tree | unsigned) == 0
