import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from kmodlab.ground.cache import cache_dir, digest, filled, locked
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, regular_files, remove_tree, write_aside


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


def test_filled_removes_what_a_killed_maker_left_and_nothing_of_one_at_work(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as maker:
        left = tmp_path / f"image.{maker.pid}-1.part"
    for folder in (left, tmp_path / "image.1-1.part"):
        folder.mkdir()
    with filled(tmp_path / "image") as folder:
        (folder / "whole").write_text("")
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["image", "image.1-1.part"]
    assert [path.name for path in (tmp_path / "image").iterdir()] == ["whole"]


def test_what_several_make_at_once_is_the_first_ones_and_whole(tmp_path: Path) -> None:
    with filled(tmp_path / "image") as slow:
        (slow / "slow").write_text("")
        with ThreadPoolExecutor() as pool:
            pool.submit(_fill, tmp_path / "image").result()
    assert [path.name for path in (tmp_path / "image").iterdir()] == ["quick"]


def _fill(target: Path) -> None:
    with filled(target) as folder:
        (folder / "quick").write_text("")


def test_a_folder_without_end_or_permission_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    deep = os.open(folder, os.O_RDONLY)
    for _ in range(3000):  # more than Python's own recursion, and a path longer than the kernel takes
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    (folder / "closed/inside").mkdir(parents=True)
    (folder / "closed").chmod(0)
    (folder / "link").symlink_to(tmp_path)
    (tmp_path / "other").write_text("")
    remove_tree(folder)
    assert not folder.exists() and (tmp_path / "other").exists()


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "large"])
def test_a_strangers_file_is_read_only_where_it_is_one(tmp_path: Path, what: str) -> None:
    path = tmp_path / "built.ko"
    if what == "link":
        (tmp_path / "secret").write_text("secret")
        path.symlink_to(tmp_path / "secret")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"12345678")
    with pytest.raises(LabError, match=r"built\.ko (is|cannot be read)"):
        read_regular(path, 7)
    path.rmdir() if what == "folder" else path.unlink()
    path.write_bytes(b"1234567")
    assert read_regular(path, 7) == b"1234567"


def test_files_are_found_behind_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.ko").write_text("")
    (tmp_path / "work/sub").mkdir(parents=True)
    (tmp_path / "work/sub/a.ko").write_text("")
    (tmp_path / "work/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "work/c.ko").symlink_to("sub/a.ko")
    assert regular_files(tmp_path / "work", "*.ko") == [tmp_path / "work/sub/a.ko"]


def test_write_aside_names_the_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no-such-folder"):
        write_aside(tmp_path / "no-such-folder/file", "text")


def test_a_lock_that_is_held_says_who_is_busy() -> None:
    holder = FileLock(cache_dir() / "thing.lock")
    with holder, pytest.raises(LabError, match="somebody is at work"), locked("thing", wait=0, busy="somebody is at work"):
        pytest.fail("the lock was given twice")
    with locked("thing", wait=0, busy="still held after its holder let go"):
        pass
