"""What the roles deployed can be loaded by name, works, and leaves a clean kernel."""

import pytest
from testinfra.host import Host


@pytest.mark.parametrize("name", ["hello-2", "startstop", "chardev"])
def test_a_deployed_module_is_found_by_modprobe(host: Host, name: str) -> None:
    found = host.run("modinfo -F filename %s", name)
    assert found.rc == 0, found.stderr
    # 6.12 packs its own modules with xz, and so the role does, too.
    assert found.stdout.strip() == f"/lib/modules/{host.check_output('uname -r')}/updates/kmodlab/{name}.ko.xz"


def test_a_module_built_on_the_host_loads_works_and_unloads(host: Host) -> None:
    host.run_expect([0], "modprobe chardev")
    try:
        assert host.run("test -c /dev/chardev").rc == 0
        assert host.check_output("cat /dev/chardev") == "I already told you 0 times Hello world!"
    finally:
        host.run_expect([0], "modprobe -r chardev")
    assert not host.file("/dev/chardev").exists


def test_the_kernel_is_tainted_by_nothing_but_foreign_unsigned_modules(host: Host) -> None:
    out_of_tree, unsigned = 4096, 8192
    assert int(host.file("/proc/sys/kernel/tainted").content_string) & ~(out_of_tree | unsigned) == 0
