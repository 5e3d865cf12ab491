"""The room is as it was: the rules are gone, a student's work and the kernel are there."""

from testinfra.host import Host


def test_rules_and_settings_are_gone(host: Host) -> None:
    assert not host.file("/etc/sudoers.d/kmodlab").exists
    assert not host.file("/etc/sysctl.d/90-kmodlab.conf").exists
    assert not host.file("/etc/apt/sources.list.d/kmodlab.sources").exists
    assert not host.file("/usr/local/sbin/kmodlab-load").exists
    assert host.run("su alice -c 'sudo -n rmmod hello-1'").rc != 0


def test_a_students_work_stays_and_nothing_else(host: Host) -> None:
    sources = "find /home/alice/kmodlab-examples -name '*.[ch]' ! -name '*.mod.c' -o -name Makefile -o -name .handed-out.json"
    assert host.check_output(sources) == "/home/alice/kmodlab-examples/hello-1.c"
    assert host.file("/home/alice/kmodlab-examples/hello-1.c").contains("mine")


def test_the_kernel_stays(host: Host) -> None:
    assert host.run("test -e /lib/modules/$(uname -r)/modules.dep").rc == 0
