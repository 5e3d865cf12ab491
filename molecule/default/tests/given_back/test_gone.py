"""What the roles had put there is gone, and the kernel's own modules are as they were."""

from testinfra.host import Host


def test_modules_and_builds_are_gone(host: Host) -> None:
    assert host.run("modprobe chardev").rc != 0
    assert host.run("ls -d /lib/modules/*/updates/kmodlab /var/lib/kmodlab/modules").stdout == ""
    assert host.check_output("ls /etc/modules-load.d | grep -c kmodlab || true") == "0"


def test_the_kernels_own_modules_load(host: Host) -> None:
    host.run_expect([0], "modprobe dummy")
    host.run_expect([0], "modprobe -r dummy")
