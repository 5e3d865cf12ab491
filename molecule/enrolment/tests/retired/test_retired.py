"""A certificate that was taken back revokes: what its key signed is refused; the other key is as good as before."""

from testinfra.host import Host


def test_the_certificate_is_gone(host: Host) -> None:
    assert "a key that lives elsewhere" not in host.check_output("mokutil --list-enrolled")


def test_what_its_key_signed_is_refused(host: Host) -> None:
    refused = host.run("insmod /run/built/startstop.ko")
    assert refused.rc != 0
    assert "Key was rejected by service" in refused.stderr
    assert "Loading of module with unavailable key is rejected" in host.check_output("dmesg")


def test_what_the_other_key_signed_still_loads(host: Host) -> None:
    host.run_expect([0], "insmod /run/built/hello-2.ko")
    host.run_expect([0], "rmmod hello_2")
