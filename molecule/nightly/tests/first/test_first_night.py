"""The job stands, its timer has fired, and the night has left a page, rows and no mail."""

import json

from testinfra.host import Host

NIGHTS = "/var/lib/kmodlab/nights"


def test_the_settings_explain_themselves(host: Host) -> None:
    lines = host.file("/etc/kmodlab/nightly.yml").content_string.splitlines()
    assert 'modules: "/srv/mymod"' in lines and "refresh: false" in lines and 'known: "/etc/kmodlab/known.yml"' in lines
    settings = [n for n, line in enumerate(lines) if line and not line.startswith("#")]
    assert sum(lines[n - 1].startswith("# ") for n in settings) >= len(settings) - 1


def test_the_timer_waits_for_the_next_night(host: Host) -> None:
    assert host.service("kmodlab-nightly.timer").is_enabled and host.service("kmodlab-nightly.timer").is_running
    shown = host.check_output(
        "systemctl show kmodlab-nightly.timer -p LastTriggerUSec -p NextElapseUSecRealtime -p RandomizedDelayUSec"
    )
    assert "RandomizedDelayUSec=5s" in shown and shown.count(" 01:00:0") == 2, shown


def test_the_night_had_limits_and_ended_well(host: Host) -> None:
    names = ("Result", "ExecMainStatus", "User", "RuntimeMaxUSec", "MemoryMax", "OnFailure")
    shown = host.check_output(f"systemctl show kmodlab-nightly.service {' '.join(f'-p {name}' for name in names)}")
    facts = dict(line.split("=", 1) for line in shown.splitlines())
    assert (facts["Result"], facts["ExecMainStatus"]) == ("success", "0"), host.file(
        "/var/log/kmodlab/nightly.log"
    ).content_string
    assert (
        facts["User"] == "kmodlab" and facts["RuntimeMaxUSec"] == "8h" and facts["OnFailure"] == "kmodlab-nightly-ended.service"
    )
    assert 0 < int(facts["MemoryMax"]) < 4 << 30


def test_it_left_a_page_and_rows(host: Host) -> None:
    night = json.loads(host.file(f"{NIGHTS}/site/tonight.json").content_string)
    assert night["headline"].endswith("1 cell, 1 passed"), night
    (rows,) = host.check_output(f"ls {NIGHTS}/rows/*/*.jsonl").split()
    lines = [json.loads(line) for line in host.file(rows).content_string.splitlines()]
    assert [(line["kernel"], line["module"], line["verdict"]) for line in lines if "verdict" in line] == [
        ("um-6.12", "hello-1", "pass")
    ]
    assert host.file(f"{NIGHTS}/site/index.html").user == "kmodlab"


def test_nobody_was_told(host: Host) -> None:
    assert host.check_output("find /srv/mail -type f") == ""


def test_who_may_be_root_and_how(host: Host) -> None:
    rules = host.check_output("sudo -l -U kmodlab")
    assert "-I -m kmodlab.debian.roots boot" in rules and "ALL\n" not in rules.partition("commands on")[2]
    assert host.run("runuser -u kmodlab -- sudo -n true").rc != 0


def test_its_log_is_rotated(host: Host) -> None:
    assert host.file("/var/log/kmodlab/nightly.log").contains("nothing new")
    assert host.file("/var/log/kmodlab").user == "root"
    host.check_output("logrotate --force /etc/logrotate.d/kmodlab")
    assert host.file("/var/log/kmodlab/nightly.log.1").exists and not host.file("/var/log/kmodlab/nightly.log").exists
