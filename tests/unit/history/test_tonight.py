"""What a night is: its exit status, what it tells, and what it does not."""

from __future__ import annotations

import email
import socket
import xml.etree.ElementTree as Tree
from collections.abc import Iterator
from datetime import date
from email.message import Message
from pathlib import Path
from typing import Any

import feedparser
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Handler
from history_nights import night, row, run_id
from prometheus_client.openmetrics import parser

from kmodlab.ground.errors import LabError
from kmodlab.history import mail, told
from kmodlab.history.known import KnownIssue, load_known, stale
from kmodlab.history.mail import Mail
from kmodlab.history.row import Row
from kmodlab.history.series import Series
from kmodlab.history.tonight import FailOn, Tonight, tonight

TODAY = date(2026, 1, 20)
BROKEN = {"digest": "b" * 16, "reason": "insmod: it broke"}


def _tonight(folder: Path, *nights: list[Row], known: list[KnownIssue] | None = None, **facts: object) -> Tonight:
    series = Series(folder)
    for n, rows in enumerate(nights):
        series.append(night(n, rows, **(facts if n == len(nights) - 1 else {})), rows)
    found = tonight(series, known or [], TODAY)
    assert found
    return found


def test_a_quiet_night(tmp_path: Path) -> None:
    found = _tonight(tmp_path, [row(0)], [row(1)])
    assert (found.exit_status(), found.news, found.headline) == (0, False, "nothing new: 1 cell, 1 passed")


def test_red_on_the_first_night_only(tmp_path: Path) -> None:
    found = _tonight(tmp_path, [row(0)], [row(1, "fail", **BROKEN)])
    assert (found.exit_status(), found.news) == (1, True)
    assert found.broken[0].line == "chardev on 6.12-x86_64: newly broken, at log: insmod: it broke [changed: the module]"
    rows = [row(2, "fail", **BROKEN)]
    found = _tonight(tmp_path, [row(0)], [row(1, "fail", **BROKEN)], rows)
    assert (found.exit_status(), found.exit_status(FailOn.ANY), found.news) == (0, 1, False)
    assert f"since {run_id(1)}" in found.changes[0].line


def test_the_lab_is_in_trouble(tmp_path: Path) -> None:
    assert _tonight(tmp_path / "a", [row(0)], [row(1, "error")]).exit_status() == 2
    assert _tonight(tmp_path / "b", [row(0)], [row(1)], troubles=["the archive was not reached"]).exit_status() == 2
    assert _tonight(tmp_path / "c", [row(0)], []).exit_status() == 2
    gone = _tonight(tmp_path / "d", [row(0), row(0, kernel="5.10")], [row(1)])
    assert gone.exit_status() == 2 and gone.troubles == ["kernel 5.10 was in the night before, and is not in this one"]
    both = _tonight(tmp_path / "e", [row(0), row(0, module="m")], [row(1, "fail", **BROKEN), row(1, "error", module="m")])
    assert both.exit_status() == 1


def test_the_labs_trouble_is_told_once(tmp_path: Path) -> None:
    nights = [[row(0)], [row(1, "error")], [row(2, "error")]]
    assert _tonight(tmp_path / "a", *nights[:2]).news
    assert not _tonight(tmp_path / "b", *nights).news


def test_a_known_issue_is_apart(tmp_path: Path) -> None:
    issue = KnownIssue(module="char*", pattern="it broke", link="https://example.org/1")
    found = _tonight(tmp_path, [row(0)], [row(1, "fail", **BROKEN)], known=[issue])
    assert (found.exit_status(), found.exit_status(FailOn.ANY), found.news, found.broken) == (0, 0, False, [])
    assert [each.where for each in found.known] == ["chardev on 6.12-x86_64"]


@pytest.mark.parametrize(
    ("issue", "excused"),
    [
        (KnownIssue(module="chardev"), True),
        (KnownIssue(module="chardev", kernel="6.1*"), True),
        (KnownIssue(module="chardev", kernel="5.10*"), False),
        (KnownIssue(module="ioctl"), False),
        (KnownIssue(module="chardev", pattern="another"), False),
        (KnownIssue(module="chardev", until=TODAY), True),
        (KnownIssue(module="chardev", until=date(2026, 1, 19)), False),
    ],
)
def test_which_failures_an_issue_explains(issue: KnownIssue, excused: bool) -> None:
    assert issue.explains(row(1, "fail", **BROKEN), TODAY) is excused
    assert not issue.explains(row(1), TODAY)


def test_a_crash_is_excused_by_its_name_only() -> None:
    crash = row(1, "fail", crash=True, kind="null-pointer", fingerprint="null-pointer:chardev_open")
    assert not KnownIssue(module="chardev").explains(crash, TODAY)
    assert KnownIssue(module="chardev", pattern="chardev_open").explains(crash, TODAY)


def test_stale_issues_are_complained_of(tmp_path: Path) -> None:
    series = Series(tmp_path)
    for n in range(16):
        rows = [row(n), row(n, "fail" if n % 2 else "pass", module="wobbly")]
        series.append(night(n, rows), rows)
    issues = [
        KnownIssue(module="chardev"),
        KnownIssue(module="wobbly"),
        KnownIssue(module="nothing"),
        KnownIssue(module="wobbly", until=date(2026, 1, 1)),
    ]
    assert [each.why for each in stale(issues, series.cells(), TODAY)] == [
        "passed 16 times in a row",
        "there is no such cell",
        "it was to end on 2026-01-01",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "- module: [",
        "module: x",
        "- kernel: x",
        "- module: x\n  odd: 1",
        "- module: x\n  pattern: '['",
        "- module: x\n  until: soon",
    ],
)
def test_a_bad_list_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "known.yml"
    path.write_text(text)
    with pytest.raises(LabError, match=r"known\.yml"):
        load_known(path)
    path.write_text("")
    assert load_known(path) == []
    with pytest.raises(LabError, match="No such file"):
        load_known(tmp_path / "no.yml")


class Inbox(Handler):
    """What was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.letters.append(message)


def _broken(folder: Path) -> Tonight:
    rows = [
        row(1, "fail", log="logs/6.12-x86_64/chardev.log", release="6.12.2", reason="insmod: it broke\r\nBcc: evil@example.org")
    ]
    (folder / "run/logs/6.12-x86_64").mkdir(parents=True)
    text = "== build: pass\n" + "quiet\n" * 50 + "== load: fail (when)\nBUG: first words\x1b[31m\n" + "more\n" * 50
    (folder / "run/logs/6.12-x86_64/chardev.log").write_text(text)
    return _tonight(folder / "series", [row(0)], rows)


def test_the_mail(tmp_path: Path) -> None:
    letter = mail.message(_broken(tmp_path), Mail(["a@example.org"]), tmp_path / "run", "https://example.org/n")
    read = email.message_from_bytes(letter.as_bytes())
    assert read["Subject"] == "[kmodlab] newly broken: chardev on 6.12-x86_64"
    assert read["Bcc"] is None and read["To"] == "a@example.org"
    text = letter.get_content()
    for said in (
        "changed: kernel 6.12.1 to 6.12.2",
        "| BUG: first words",
        f"passed last in {run_id(0)}",
        "https://example.org/n",
    ):
        assert said in text
    assert "quiet" not in text and "\x1b" not in text and text.count("| more") == mail.LOG_LINES - 2


@pytest.fixture
def free_port() -> int:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def inbox(free_port: int) -> Iterator[Inbox]:
    """A mail server on loopback."""
    kept = Inbox()
    server = Controller(kept, hostname="127.0.0.1", port=free_port)
    server.start()
    yield kept
    server.stop()


def test_it_arrives(tmp_path: Path, inbox: Inbox, free_port: int) -> None:
    chosen = Mail(["a@example.org", "b@example.org"], "lab@example.org", f"127.0.0.1:{free_port}")
    mail.send(mail.message(_broken(tmp_path), chosen, tmp_path / "run"), chosen)
    assert len(inbox.letters) == 1
    assert inbox.letters[0]["X-RcptTo"] == "a@example.org, b@example.org"


def test_sendmail_gets_it_and_who_does_not_take_it_is_named(tmp_path: Path, free_port: int) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/sent\necho $@ >{tmp_path}/words\n")
    program.chmod(0o755)
    chosen = Mail(["a@example.org"], sendmail=str(program))
    letter = mail.message(_broken(tmp_path), chosen)
    mail.send(letter, chosen)
    assert "newly broken" in (tmp_path / "sent").read_text()
    for bad in (
        Mail(["a"], sendmail="/bin/false"),
        Mail(["a"], sendmail="/no"),
        Mail(["a"], smtp=f"127.0.0.1:{free_port}"),
        Mail(["a"], smtp="x:y"),
    ):
        with pytest.raises(LabError, match="cannot send the mail"):
            mail.send(letter, bad)


def test_the_users_command(tmp_path: Path) -> None:
    told.run_command(f"cat >{tmp_path}/told.json", _broken(tmp_path))
    assert '"blame": "the kernel"' in (tmp_path / "told.json").read_text()
    with pytest.raises(LabError, match="exit status 3"):
        told.run_command("exit 3", _broken(tmp_path / "again"))


def test_the_feed() -> None:
    entries = [(run_id(n), "2026-01-02T02:00:00Z", f"fixed: <b> & \0 {n}", "text\n<i>") for n in range(60)]
    read = feedparser.parse(told.atom(entries, "https://example.org/n?a&b"))
    assert (read.bozo, read.version, len(read.entries)) == (False, "atom10", told.ENTRIES)
    assert read.entries[0].id == f"urn:kmodlab:nightly:{run_id(0)}"
    assert all(each.get("updated_parsed") and each.get("link") for each in read.entries)
    assert not feedparser.parse(told.atom([], "")).bozo
    assert feedparser.parse(told.atom(entries, "").replace(b"</entry>", b"", 1)).bozo


def _parsed(text: str) -> list[Any]:
    return list(parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def test_the_numbers(tmp_path: Path) -> None:
    text = told.openmetrics(_broken(tmp_path), 1767319260.0)
    families = {family.name: family for family in _parsed(text)}
    samples = {tuple(sample.labels.values()): sample.value for sample in families["kmodlab_cells"].samples}
    assert samples["6.12-x86_64", "newly broken"] == 1
    assert families["kmodlab_newly_broken"].samples[0].value == 1
    for broken in (text.replace("# EOF", ""), text.replace('"} 1', "} 1"), text.replace("gauge", "pressure", 1)):
        with pytest.raises(ValueError, match=r".*"):
            _parsed(broken)


def test_the_badge(tmp_path: Path) -> None:
    red = told.badge(_broken(tmp_path))
    assert Tree.fromstring(red).get("aria-label") == "kmodlab: 1 newly broken"  # noqa: S314 - our own
    green = told.badge(_tonight(tmp_path / "green", [row(0)]))
    assert "1 of 1 pass" in green and "#187a34" in green
    assert "the lab is in trouble" in told.badge(_tonight(tmp_path / "grey", [row(0, "error")]))
    for broken in (red.replace("</svg>", ""), red.replace('"', "", 1), red.replace("1 newly", "<newly")):
        with pytest.raises(Tree.ParseError):
            Tree.fromstring(broken)  # noqa: S314
