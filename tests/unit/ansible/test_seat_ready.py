"""Which seats are ready: a table, a page and data that say the same, with what mends the others; and the asking itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_module import answer_of

from kmodlab.ground.cache import REPOSITORY
from plugins.modules import seat_ready

GOOD = [{"check": name, "ok": True, "said": f"good {name}", "mend": ""} for name in ("kernel", "headers", "secure boot", "disk")]
PENDING = {"check": "secure boot", "ok": False, "said": "on, <b>waits</b>", "mend": "reboot it & sit down"}
ANSWERS: dict[str, dict[str, Any]] = {
    "seat-01": {"ready": True, "checks": GOOD, "enrolment": "enrolled"},
    "seat-02": {"ready": False, "checks": [*GOOD[:2], PENDING], "enrolment": "pending"},
    "seat-03": {},
    "seat-04": {"ready": True, "checks": GOOD, "enrolment": "none needed"},
}
ANSIBLE = Path(sys.executable).parent / "ansible-playbook"
ROLE = REPOSITORY / "roles/seat_ready"


def played(folder: Path, answers: dict[str, dict[str, Any]]) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The role's telling half, for seats that have answered so."""
    _, tell, insist = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    for task in tell["block"]:
        if "ansible.builtin.template" in task:
            task["ansible.builtin.template"]["src"] = str(ROLE / "templates") + "/{{ item }}.j2"
    report = folder / "report"
    data = [yaml.safe_load((ROLE / part / "main.yml").read_text()) for part in ("defaults", "vars")]
    variables = {**data[0], **data[1], "seat_ready_report": str(report)}
    play = {"hosts": "all", "gather_facts": False, "vars": variables, "tasks": [tell, insist]}
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {name: {"__seat_ready_asked": answer} for name, answer in answers.items()}
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": here, "hosts": hosts}}))
    (folder / "play.yml").write_text(json.dumps([play]))
    command: list[str | Path] = [ANSIBLE, "-i", folder / "hosts.json", folder / "play.yml"]
    plain = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True, check=False, timeout=120), report


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    return played(tmp_path_factory.mktemp("told"), ANSWERS)


def test_the_table_names_each_seat_and_what_mends_it(told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    said = told[0].stdout
    assert "2 of 4 seats are ready" in said
    assert re.search(r"ready +seat-01 +good kernel", said) and re.search(r"NOT READY +seat-02", said)
    assert "secure boot: on, <b>waits</b>" in said and "mend: reboot it & sit down" in said
    assert re.search(r"NOT READY +seat-03.*?machine: not reached, or failed", said, re.DOTALL)
    assert "Secure Boot, enrolled: seat-01" in said and "Secure Boot, pending: seat-02" in said


def test_seats_that_are_not_ready_fail_and_only_they(told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    assert told[0].returncode == 2
    assert re.findall(r"fatal: \[(\S+)\]", told[0].stdout + told[0].stderr) == ["seat-02", "seat-03"]


def test_the_data_say_the_same(told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    data = json.loads((told[1] / "seats.json").read_text())
    assert (data["schema"], data["ready"]) == (1, 2)
    assert {seat["seat"]: seat["ready"] for seat in data["seats"]} == {
        name: bool(each.get("ready")) for name, each in ANSWERS.items()
    }
    assert data["seats"][1]["checks"] == ANSWERS["seat-02"]["checks"]
    assert data["secure_boot"] == {"enrolled": ["seat-01"], "pending": ["seat-02"]}


def test_the_page_shows_it_and_believes_no_seat(told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    page = (told[1] / "index.html").read_text()
    assert page.count('<tr id="seat-') == 4 and page.count('class="red"') == 2
    assert "<b>" not in page and "on, &lt;b&gt;waits&lt;/b&gt;" in page and "reboot it &amp; sit down" in page


@pytest.mark.parametrize(("text", "bad"), [
    ("WARNING: CPU: 0 PID: 1 at kernel/foo.c:1 bar+0x1/0x2 [baz]", True),
    ("BUG: kernel NULL pointer dereference, address: 0000000000000000", True),
    ("kmodlab_ready: loading out-of-tree module taints kernel.", False),
    ("DEBUG: nothing", False),
    ("kmodlab_ready: module verification failed: signature and/or required key missing - tainting kernel", False),
])  # fmt: skip
def test_what_the_log_says_of_a_fault(monkeypatch: pytest.MonkeyPatch, text: str, bad: bool) -> None:
    monkeypatch.setattr(seat_ready, "records", lambda after: [(after + 1, text)])
    assert seat_ready.log(0).ok != bad


@pytest.mark.parametrize(("said", "word"), [
    ("x.der is already enrolled\n", "enrolled"), ("x.der is already in the enrollment request\n", "pending"),
    ("x.der is not enrolled\n", "lost"), ("", "lost"),
])  # fmt: skip
def test_what_mokutil_says_of_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, word: str) -> None:
    (tmp_path / "SecureBoot").write_bytes(b"\x06\0\0\0\x01")
    (tmp_path / "mokutil").write_text(f"#!/bin/sh\nprintf '{said}'\n")
    (tmp_path / "mokutil").chmod(0o755)
    monkeypatch.setattr(seat_ready, "EFI", tmp_path / "SecureBoot")
    monkeypatch.setattr(seat_ready, "CERTIFICATE", tmp_path / "mokutil")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert seat_ready.enrolled() == word
    assert seat_ready.secure_boot(word).ok == (word == "enrolled")
    (tmp_path / "SecureBoot").write_bytes(b"\x06\0\0\0\x00")
    assert seat_ready.enrolled() == "none needed"


def test_a_step_that_hangs_is_ended_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root becomes a student")
    monkeypatch.setattr(seat_ready, "SCRIPT", "echo @build; sleep 987.5 & sleep 987.5")
    assert "more than 1 s" in seat_ready.tried("nobody", "", 1)
    assert not subprocess.run(["pgrep", "-fx", "sleep 987.5"], capture_output=True, check=False).stdout


def test_a_machine_without_headers_is_told_so_and_nothing_breaks() -> None:
    """This one, whatever it is: asked for real."""
    answer = answer_of("seat_ready", {"student": "nobody"})
    if os.geteuid() != 0:
        assert "takes root" in answer["msg"]
        return
    checks = {each["check"]: each for each in answer["checks"]}
    assert list(checks) == ["kernel", "headers", "compiler", "module", "log", "secure boot", "disk"]
    assert not answer["changed"] and answer["ready"] == all(each["ok"] for each in checks.values())
    assert all(each["mend"] for each in checks.values() if not each["ok"])


def test_a_student_who_is_not_there_is_named() -> None:
    answer = answer_of("seat_ready", {"student": "kmodlab-never"})
    assert answer["failed"] and ("kmodlab-never" in answer["msg"] or "takes root" in answer["msg"])
