"""A night that has no page is told of, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kmodlab.commands import nightly
from kmodlab.ground.errors import LabError
from kmodlab.history.mail import Mail


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what sendmail was given."""
    program = tmp_path / "bin/sendmail"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec /bin/cat >{tmp_path}/letter\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return tmp_path / "letter"


def _ended(config: str, folder: Path, said: bytes) -> tuple[int, str]:
    path = folder / "nightly.yml"
    path.write_text(config)
    done = CliRunner().invoke(
        nightly.run_nightly, ["--modules", str(folder), "--config", str(path), "--ended", "oom-kill"], input=said
    )
    return done.exit_code, f"{done.output}{done.exception or ''}"


def test_an_end_unforeseen_is_mailed_with_the_last_words(tmp_path: Path, outbox: Path) -> None:
    said = b"".join(b"line %d\n" % n for n in range(100)) + b"\x1b[31mlast\xff\n"
    assert _ended("mail: [kernel@example.org]", tmp_path, said) == (0, "")
    letter = outbox.read_text()
    assert "Subject: [kmodlab] the night ended: oom-kill\nFrom: kmodlab@localhost\nTo: kernel@example.org\n" in letter
    assert "line 99" in letter and "line 60\n" not in letter and "\x1b" not in letter


def test_who_is_told_must_be_said(tmp_path: Path, outbox: Path) -> None:
    status, said = _ended("quick: yes", tmp_path, b"")
    assert status and "say to whom with --mail" in said and not outbox.exists()


def test_a_lab_that_could_not_begin_is_mailed_and_is_an_error(outbox: Path) -> None:
    with pytest.raises(LabError, match="no kernel of that name"), nightly._told(Mail(to=("a@example.org",))):
        raise LabError("no kernel of that name", hint="see --kernels")
    letter = outbox.read_text()
    assert "Subject: [kmodlab] the lab could not do its work\n" in letter and "no kernel of that name; see --kernels" in letter


def test_nobody_is_mailed_where_nobody_is_named_or_nothing_is_wrong(outbox: Path) -> None:
    with pytest.raises(LabError), nightly._told(None):
        raise LabError("no kernel of that name")
    with nightly._told(Mail(to=("a@example.org",))):
        pass
    assert not outbox.exists()


def test_a_mail_that_cannot_be_sent_hides_no_cause(outbox: Path) -> None:
    (outbox.parent / "bin/sendmail").unlink()
    with pytest.raises(LabError, match="no kernel of that name"), nightly._told(Mail(to=("a@example.org",))):
        raise LabError("no kernel of that name")
