"""All of it is gone, but the history."""

from testinfra.host import Host


def test_nothing_is_left_but_the_history(host: Host) -> None:
    places = "/etc/systemd /etc/sudoers.d /etc/logrotate.d /opt /var/log /run/systemd/system"
    assert host.check_output(f"find {places} /etc/kmodlab -name '*kmodlab*' 2>/dev/null || true") == ""
    assert host.check_output("ls -A /var/lib/kmodlab") == "nights"
    assert not host.user("kmodlab").exists and not host.group("kmodlab").exists
    assert host.run("systemctl cat kmodlab-nightly.timer").rc != 0


def test_the_history_is_whole_and_roots(host: Host) -> None:
    assert len(host.check_output("ls /var/lib/kmodlab/nights/rows/*/*.jsonl").split()) == 2
    assert host.file("/var/lib/kmodlab/nights/site/index.html").exists
    assert host.check_output("find /var/lib/kmodlab ! -user root") == ""
