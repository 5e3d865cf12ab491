"""Requests wait for a person; until then the kernel knows neither key, and refuses what they signed."""

import pytest
from testinfra.host import Host


def test_the_kernel_is_locked_down_and_was_started_by_shim(host: Host) -> None:
    log = host.check_output("dmesg")
    assert "Kernel is locked down from EFI Secure Boot" in log
    assert host.run("mokutil --sb-state").stdout.startswith("SecureBoot enabled")


def test_two_certificates_wait_for_confirmation(host: Host) -> None:
    waiting = host.check_output("mokutil --list-new")
    assert waiting.count("Subject:") == 2
    assert "CN=a key that lives elsewhere" in waiting
    assert "kmodlab module signing key" in waiting


@pytest.mark.parametrize("name", ["hello-2", "startstop"])
def test_what_is_signed_by_a_key_that_nobody_confirmed_is_refused(host: Host, name: str) -> None:
    refused = host.run("modprobe %s", name)
    assert refused.rc != 0
    assert "Key was rejected by service" in refused.stderr


def test_neither_key_came_to_the_machine(host: Host) -> None:
    found = host.run("grep -rlsE 'BEGIN .*PRIVATE KEY' /run /tmp /root /usr/local /var/tmp")
    assert found.stdout == ""
