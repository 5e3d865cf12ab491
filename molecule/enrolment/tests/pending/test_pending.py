"""Requests wait for a person; until then the kernel knows neither key, and refuses what they signed."""

import pytest
from testinfra.host import Host


def test_the_kernel_is_locked_down_and_was_started_by_shim(host: Host) -> None:
    log = host.check_output("dmesg")
    assert "Kernel is locked down from EFI Secure Boot" in log
    assert host.run("mokutil --sb-state").stdout.startswith("SecureBoot enabled")


def test_three_certificates_wait_for_confirmation(host: Host) -> None:
    waiting = host.check_output("mokutil --list-new")
    assert waiting.count("Subject:") == 3
    assert "CN=a key that lives elsewhere" in waiting
    assert "kmodlab module signing key" in waiting
    assert "CN=kmodlab seat host" in waiting


def test_the_seats_key_is_roots_alone(host: Host) -> None:
    folder = host.file("/var/lib/kmodlab/seat")
    assert (folder.user, folder.mode) == ("root", 0o700)
    assert host.file("/var/lib/kmodlab/seat/private.key").mode == 0o600
    assert host.run("su alice -c 'cat /var/lib/kmodlab/seat/private.key'").rc != 0


def test_a_student_is_told_what_her_module_waits_for(host: Host) -> None:
    host.check_output("su alice -c 'cp /run/built/Makefile /run/built/hello-1.c ~'")
    refused = host.run("su alice -c 'cd && make load MODULE=hello-1'")
    assert refused.rc != 0
    assert "Key was rejected by service" in refused.stderr
    assert "this seat's key waits for a person at its keyboard" in refused.stderr


@pytest.mark.parametrize("name", ["hello-2", "startstop"])
def test_what_is_signed_by_a_key_that_nobody_confirmed_is_refused(host: Host, name: str) -> None:
    refused = host.run("modprobe %s", name)
    assert refused.rc != 0
    assert "Key was rejected by service" in refused.stderr


def test_neither_key_came_to_the_machine(host: Host) -> None:
    found = host.run("grep -rlsE 'BEGIN .*PRIVATE KEY' /run /tmp /root /usr/local /var/tmp")
    assert found.stdout == ""
