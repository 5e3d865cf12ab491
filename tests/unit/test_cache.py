from pathlib import Path

import pytest
from filelock import FileLock

from kmodlab.cache import cache_dir, digest, filled, locked, write_aside
from kmodlab.errors import LabError


def test_digest_sees_a_files_name_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = digest(tmp_path)
    (tmp_path / "a").write_text("y")
    second = digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, digest(tmp_path)}) == 3


def test_digest_keeps_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_filled_leaves_nothing_of_a_maker_that_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), filled(tmp_path / "image") as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_what_was_written_and_what_to_do(tmp_path: Path) -> None:
    wanted = pytest.raises(LabError, match=r"image: No space left.*XDG_CACHE_HOME")
    with wanted, filled(tmp_path / "image"), Path("/dev/full").open("w") as full:
        full.write("x")
    assert list(tmp_path.iterdir()) == []


def test_filled_replaces_what_a_killed_maker_left(tmp_path: Path) -> None:
    (tmp_path / "image.part").mkdir()
    (tmp_path / "image.part/half").write_text("")
    with filled(tmp_path / "image") as folder:
        (folder / "whole").write_text("")
    assert [path.name for path in (tmp_path / "image").iterdir()] == ["whole"]


def test_write_aside_names_the_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no-such-folder"):
        write_aside(tmp_path / "no-such-folder/file", "text")


def test_a_lock_that_is_held_says_who_is_busy() -> None:
    holder = FileLock(cache_dir() / "thing.lock")
    with holder, pytest.raises(LabError, match="somebody is at work"), locked("thing", wait=0, busy="somebody is at work"):
        pytest.fail("the lock was given twice")
    with locked("thing", wait=0, busy="still held after its holder let go"):
        pass
