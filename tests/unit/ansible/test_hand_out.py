"""What a student has changed is kept, what they have not is renewed, and nothing of theirs leads anywhere else."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pwd
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_module import answer_of

NAME = "kmodlab-never/examples"
OLD = {"Makefile": "obj-m += one.o\n", "one.c": "int one;\n", "other/two.c": "int two;\n"}
NEW = {**OLD, "one.c": "int uno;\n", "three.c": "int three;\n"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of nobody's: who runs the test is told, by a Python that starts with it, that it is theirs."""
    path = tmp_path / "home"
    path.mkdir()
    site = tmp_path / "site"
    site.mkdir()
    me = pwd.getpwuid(os.geteuid()).pw_name
    (site / "sitecustomize.py").write_text(
        "import pwd\nreal = pwd.getpwuid\n"
        f"pwd.getpwuid = lambda uid: pwd.struct_passwd((*real(uid)[:5], {str(path)!r}, real(uid)[6]))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("STUDENT", me)
    return path


def packed(files: dict[str, str]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return base64.b64encode(gzip.compress(buffer.getvalue())).decode()


def hand_out(files: dict[str, str], **more: Any) -> dict[str, Any]:
    arguments = {"user": os.environ["STUDENT"], "name": NAME, "archive": packed(files), **more}
    return answer_of("hand_out", arguments)


def held(home: Path) -> dict[str, str]:
    top = home / NAME
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file() and path.name[0] != "."}


def test_files_are_brought_once(home: Path) -> None:
    assert hand_out(OLD, _ansible_check_mode=True)["changed"] and not (home / NAME).exists()
    assert hand_out(OLD)["written"] == list(OLD) and held(home) == OLD
    assert not hand_out(OLD)["changed"]


def test_what_a_student_changed_is_kept_and_the_rest_renewed(home: Path) -> None:
    hand_out(OLD)
    (home / NAME / "Makefile").write_text("mine\n")
    (home / NAME / "other/two.c").unlink()
    answer = hand_out({**NEW, "Makefile": "newer\n"})
    assert (answer["written"], answer["kept"]) == (["one.c", "other/two.c", "three.c"], ["Makefile"])
    assert held(home) == {**NEW, "Makefile": "mine\n"}
    assert not hand_out({**NEW, "Makefile": "newer\n"})["changed"]
    hand_out(NEW, overwrite=True)
    assert held(home) == NEW


def test_a_file_that_was_there_before_is_the_students(home: Path) -> None:
    (home / NAME).mkdir(parents=True)
    (home / NAME / "one.c").write_text("mine\n")
    assert hand_out(OLD)["kept"] == ["one.c"]
    assert hand_out(NEW)["kept"] == ["one.c"] and held(home) == {**NEW, "one.c": "mine\n"}


@pytest.mark.parametrize("place", ["kmodlab-never", NAME])
def test_a_link_in_the_folders_place_is_not_followed(home: Path, tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "examples").mkdir(parents=True)
    (home / place).parent.mkdir(exist_ok=True)
    (home / place).symlink_to(elsewhere)
    answer = hand_out(OLD)
    assert place in answer["refused"] and "link" in answer["refused"] and not answer["changed"]
    assert answer["warnings"] and list(elsewhere.rglob("*")) == [elsewhere / "examples"]


def test_links_pipes_and_folders_in_a_files_place_are_kept(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("int one;\n")
    (home / NAME / "Makefile").mkdir(parents=True)
    (home / NAME / "one.c").symlink_to(secret)
    os.mkfifo(home / NAME / "three.c")
    (home / NAME / "other").symlink_to(tmp_path)
    answer = hand_out({**NEW, "four.c": "int four;\n"})
    assert (answer["written"], answer["refused"]) == (["four.c"], "")
    assert sorted(answer["kept"]) == ["Makefile", "one.c", "other/two.c", "three.c"]
    assert secret.read_text() == "int one;\n" and not (tmp_path / "two.c").exists()


def test_a_link_to_what_was_handed_out_is_the_students_work(home: Path, tmp_path: Path) -> None:
    """It reads as what was handed out, and is neither renewed nor taken back: nothing is read through a link."""
    hand_out(OLD)
    (home / NAME / "one.c").rename(tmp_path / "moved.c")
    (home / NAME / "one.c").symlink_to(tmp_path / "moved.c")
    assert hand_out(NEW)["kept"] == ["one.c"] and (home / NAME / "one.c").is_symlink()
    assert hand_out(NEW, state="absent")["kept"] == ["one.c"] and (home / NAME / "one.c").is_symlink()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"../../x": "0", "/etc/passwd": "0", "one.c": 5}', "\xff", "null"])
def test_a_forged_record_harms_nobody(home: Path, text: str) -> None:
    hand_out(OLD)
    (home / "x").write_text("")
    (home / NAME / ".handed-out.json").write_text(text)
    assert not hand_out(OLD, state="absent")["refused"]
    assert (home / "x").exists() and held(home) == OLD


def test_taken_back_is_only_what_was_handed_out(home: Path) -> None:
    hand_out(OLD)
    (home / NAME / "one.c").write_text("mine\n")
    (home / NAME / "own.c").write_text("own\n")
    assert hand_out(OLD, state="absent", _ansible_check_mode=True)["changed"] and (home / NAME / "Makefile").exists()
    answer = hand_out(OLD, state="absent")
    assert answer["kept"] == ["one.c"] and held(home) == {"one.c": "mine\n", "own.c": "own\n"}
    assert not (home / NAME / "other").exists() and not (home / NAME / ".handed-out.json").exists()
    assert not hand_out(OLD, state="absent")["changed"]


def test_a_folder_without_changes_goes_altogether(home: Path) -> None:
    hand_out(OLD)
    hand_out(OLD, state="absent")
    assert list((home / "kmodlab-never").iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "/x", "."])
def test_no_file_and_no_folder_leads_out(home: Path, name: str) -> None:
    assert "no name of a folder" in hand_out(OLD, name=name)["msg"]
    if name != ".":
        assert "leads out" in hand_out({name: ""})["msg"] and not (home / NAME).exists()


def test_it_runs_as_nobody_but_the_student(home: Path) -> None:
    answer = answer_of("hand_out", {"user": "daemon", "name": NAME, "archive": packed(OLD)})
    assert answer["failed"] and "not as daemon" in answer["msg"] and not (home / NAME).exists()


def test_the_record_says_what_was_handed_out(home: Path) -> None:
    hand_out(OLD)
    assert sorted(json.loads((home / NAME / ".handed-out.json").read_text())) == sorted(OLD)
