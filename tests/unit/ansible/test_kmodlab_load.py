"""The command that students may run by sudo takes a module that its caller built, and nothing else, however it is put."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from roles.seat.files import kmodlab_load
from roles.seat.files.kmodlab_load import RefusedError, asked, content

ME = os.geteuid()
MODULE = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x01\x00" + b"the rest"
NOBODY = pwd.getpwnam("nobody").pw_uid
as_root = pytest.mark.skipif(ME != 0, reason="only root becomes somebody else")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "hello-1.ko"
    path.write_bytes(MODULE)
    return path


def refused(path: Path, owner: int = ME) -> str:
    with pytest.raises(RefusedError) as problem:
        content(path, owner)
    return str(problem.value)


def test_a_module_of_the_callers_is_read(module: Path) -> None:
    assert content(module, ME) == MODULE


@pytest.mark.parametrize("arguments", [["hello-1.ko"], ["./some where/hello-1.ko", "mystring=a b; rm -rf /", "debug", "my.x=-1"]])
def test_a_module_and_its_parameters(arguments: list[str]) -> None:
    assert asked(arguments) == (Path(arguments[0]), arguments[1:])


@pytest.mark.parametrize(
    "arguments",
    [[], [""], ["/"], ["--force"], ["-f", "a.ko"], ["a.ko", "--force-vermagic"], ["a.ko", "-f"], ["a.ko", "x=1\nnew line"],
     ["a.ko.xz"], ["a b.ko"], [".ko"], ["-x.ko"], ["a.ko\n"], ["a.ko", ""], ["a.ko", "/etc/shadow"], [f"{'a' * 57}.ko"]],
)  # fmt: skip
def test_options_and_odd_names_are_refused(arguments: list[str]) -> None:
    with pytest.raises(RefusedError):
        asked(arguments)


def test_a_link_is_not_followed_even_to_a_module(module: Path, tmp_path: Path) -> None:
    (tmp_path / "link.ko").symlink_to(module)
    assert "symbolic link" in refused(tmp_path / "link.ko").lower() or "levels" in refused(tmp_path / "link.ko")


def test_a_pipe_a_device_and_a_folder_are_no_modules_and_nobody_waits_for_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ko")
    (tmp_path / "folder.ko").mkdir()
    assert "no regular file" in refused(tmp_path / "pipe.ko") and "no regular file" in refused(Path("/dev/zero"))
    assert "directory" in refused(tmp_path / "folder.ko")


@pytest.mark.parametrize("text", [b"", b"int x;", b"\x7fELF", MODULE.replace(b"\x01\x00the", b"\x02\x00the"), b"\xfd7zXZ\x00"])
def test_what_is_no_object_file_is_refused(module: Path, text: bytes) -> None:
    module.write_bytes(text)
    assert "no module" in refused(module)


def test_a_huge_file_is_not_read(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmodlab_load, "LARGEST", 10)
    assert "more than" in refused(module)


@as_root
def test_somebody_elses_module_is_refused_under_every_name(module: Path, tmp_path: Path) -> None:
    """Not by a hard link either, which is the file itself."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    twin = tmp_path / "twin.ko"
    os.link(module, twin)
    module.chmod(0o644)
    assert "not yours" in refused(module, NOBODY) and "not yours" in refused(twin, NOBODY)
    os.chown(module, NOBODY, -1)
    assert content(twin, NOBODY) == MODULE
    assert "not yours" in refused(twin, 0)


@as_root
def test_a_file_is_opened_with_the_callers_rights(module: Path, tmp_path: Path) -> None:
    """In a folder that the caller cannot enter, their own file is not found for them."""
    os.chown(module, NOBODY, -1)
    tmp_path.chmod(0o700)
    assert "Permission denied" in refused(module, NOBODY)
    assert (os.geteuid(), os.getegid()) == (0, 0) and (tmp_path / "hello-1.ko").exists()


def test_a_user_who_is_not_there_is_refused(module: Path) -> None:
    assert "no user" in refused(module, 3_999_999_999)


def test_whoever_swaps_the_file_later_changes_nothing(module: Path) -> None:
    """What was read is what is signed: load() is given content, and no path."""
    read = content(module, ME)
    module.unlink()
    module.symlink_to("/etc/shadow")
    assert read == MODULE


def test_it_takes_root_and_says_what_to_type(
    module: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert kmodlab_load.main([str(module)]) == 2
    assert f"sudo kmodlab-load {module}" in capsys.readouterr().err
