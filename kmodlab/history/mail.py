"""The mail of a night on which something changed: plain text, through an SMTP server or the machine's own sendmail."""

from __future__ import annotations

import re
import smtplib
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import printable, tail
from kmodlab.history.tonight import Change, Tonight

SECONDS = 60
"""In which a mail is handed over."""
MOST = 20
"""So many cells are told with their log; of the others the line only."""
LOG_LINES = 12
LOG_BYTES = 1 << 20
_TELLING = re.compile(r"BUG|WARNING|Oops|panic|rror|== .*: fail|insmod|Call Trace|INFO:|UBSAN|KASAN|unreferenced", re.ASCII)
"""What the line says at which the first words of a log begin."""


@dataclass(frozen=True)
class Mail:
    """To whom, from whom, and through what."""

    to: Sequence[str]
    sender: str = "kmodlab@localhost"
    smtp: str = ""
    """HOST:PORT; empty for sendmail."""
    sendmail: str = "sendmail"


def message(night: Tonight, mail: Mail, logs: Path | None = None, url: str = "") -> EmailMessage:
    """What is sent of a night. `logs` is its run folder, `url` where the page is."""
    return notice(subject(night), body(night, logs, url), mail)


def notice(about: str, lines: Iterable[str], mail: Mail) -> EmailMessage:
    """A letter of the lab's."""
    letter = EmailMessage()
    letter["Subject"] = " ".join(f"[kmodlab] {about}".split())[:200]
    letter["From"], letter["To"] = mail.sender, ", ".join(mail.to)
    letter["Date"], letter["Message-ID"] = format_datetime(datetime.now(UTC)), make_msgid("kmodlab", "kmodlab.invalid")
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content("\n".join(lines) + "\n")
    return letter


def subject(night: Tonight) -> str:
    """The worst thing first, by its name where it is one."""
    if len(night.broken) == 1:
        return f"newly broken: {night.broken[0].where}"
    if night.broken or not (night.fixed or night.newcomers):
        return night.headline if night.broken else f"the lab: {night.troubles[0] if night.troubles else night.headline}"
    return f"fixed: {night.fixed[0].where}" if len(night.fixed) == 1 else night.headline


def body(night: Tonight, logs: Path | None, url: str) -> Iterator[str]:
    """The lines of the text."""
    yield f"Night {night.night.run}: {night.headline}."
    if url:
        yield url
    shown = 0
    for title, changes in (("NEWLY BROKEN", night.broken), ("FAILS ON ITS FIRST NIGHT", night.newcomers), ("FIXED", night.fixed)):
        if changes:
            yield from ("", title)
        for change in changes:
            yield from _told(change, logs if shown < MOST else None)
            shown += 1
    if night.troubles:
        yield from ("", "THE LAB", *(f"- {line}" for line in night.troubles))
    if night.stale:
        yield from ("", "STALE", *(f"- {each}" for each in night.stale))
    yield ""
    yield "This mail comes only when something changed."


def _told(change: Change, logs: Path | None) -> Iterator[str]:
    yield f"- {change.line}"
    memory = change.memory
    if change.row.verdict == "fail":
        yield f"  passed last in {memory.passed.run if memory.passed else 'no run'}, fails since {memory.since}; {memory.line}"
    if change.changed:
        yield f"  changed: {change.changed}"
    if logs and change.row.log and change.row.verdict == "fail":
        yield from (f"  | {line}" for line in first_words(logs / change.row.log))


def first_words(log: Path) -> list[str]:
    """The lines of a log from the first on that says what is wrong; its last ones where none does."""
    lines = [line for line in printable(tail(log, LOG_BYTES)).splitlines() if line.strip()]
    start = next((n for n, line in enumerate(lines) if _TELLING.search(line)), max(0, len(lines) - LOG_LINES))
    return [line[:200] for line in lines[start : start + LOG_LINES]]


def send(letter: EmailMessage, mail: Mail) -> None:
    """Hand it over. LabError where nobody takes it."""
    try:
        if mail.smtp:
            host, _, port = mail.smtp.rpartition(":")
            with smtplib.SMTP(host or port, int(port) if host else 25, timeout=SECONDS) as server:
                server.send_message(letter)
        else:
            command = [mail.sendmail, "-t", "-i"]
            subprocess.run(command, input=letter.as_bytes(), check=True, timeout=SECONDS, capture_output=True)
    except (OSError, ValueError, smtplib.SMTPException, subprocess.SubprocessError) as problem:
        through = mail.smtp or mail.sendmail
        raise LabError(
            f"cannot send the mail through {through}: {' '.join(str(problem).split())}", hint="see --smtp"
        ) from problem
