"""Confirmed at the keyboard, both keys are known: what they signed loads, and nothing else."""

import pytest
from testinfra.host import Host

OUT_OF_TREE = 4096


def test_nothing_waits_any_more(host: Host) -> None:
    assert "Subject:" not in host.run("mokutil --list-new").stdout
    assert host.check_output("mokutil --list-enrolled").count("Subject:") >= 2


@pytest.mark.parametrize("name", ["hello-2", "startstop"])
def test_what_they_signed_is_found_loads_and_taints_nothing_but_o(host: Host, name: str) -> None:
    assert host.check_output("modinfo -F filename %s", name).endswith(f"/updates/kmodlab/{name}.ko.xz")
    host.run_expect([0], "modprobe %s", name)
    host.run_expect([0], "modprobe -r %s", name)
    assert int(host.file("/proc/sys/kernel/tainted").content_string) == OUT_OF_TREE


def test_a_student_builds_and_loads_her_own(host: Host) -> None:
    host.check_output("su alice -c 'cp /run/built/Makefile /run/built/hello-1.c ~ && cd && make load MODULE=hello-1'")
    assert "hello_1" in host.check_output("lsmod")
    host.check_output("su alice -c 'cd && make unload MODULE=hello-1'")
    assert int(host.file("/proc/sys/kernel/tainted").content_string) == OUT_OF_TREE


def test_nobody_takes_the_signed_module_away(host: Host) -> None:
    refused = host.run("su alice -c 'cd && sudo -n insmod hello-1.ko'")
    assert refused.rc != 0
    assert "Key was rejected by service" in refused.stderr
    assert host.check_output("find /run /tmp -name 'hello-1.ko*' ! -path '/run/built/*'") == ""


def test_the_seat_is_ready(host: Host) -> None:
    """The scenario's second run asked it, and insisted; here is what it was told of its key."""
    assert "is already enrolled" in host.run("mokutil --test-key /var/lib/kmodlab/seat/certificate.der").stdout


def test_an_unsigned_module_is_refused(host: Host) -> None:
    refused = host.run("head -c -1 /run/built/hello-2.ko >/run/unsigned.ko; insmod /run/unsigned.ko")
    assert refused.rc != 0
    assert "Key was rejected by service" in refused.stderr
