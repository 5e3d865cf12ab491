"""What of the caches is removed: by last use, then by size, and never a key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmodlab.cli import main
from kmodlab.ground.forgetting import forget

DAY = 86400
NOW = 1_800_000_000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three images of 100 KiB, the older the smaller their number; a key, a lock, and one that is being made."""
    for number in range(3):
        folder = tmp_path / f"images/image{number}"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * (100 << 10))
        (folder / "link").symlink_to("/etc/passwd")
        for path in (folder, folder / "file", folder / "link"):
            os.utime(path, (NOW - (3 - number) * 10 * DAY,) * 2, follow_symlinks=False)
    for name in ("keys/rsa/private.key", "images/new.1.part/file", "images/image0.lock"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        os.utime(path, (0, 0))
    return tmp_path


def _left(cache: Path) -> set[str]:
    return {path.name for path in (cache / "images").iterdir()} - {"new.1.part", "image0.lock"}


def test_by_last_use(cache: Path) -> None:
    gone = forget(cache, older=15 * DAY, most=None, now=NOW)
    assert [each.path.name for each in gone] == ["image0", "image1"]
    assert _left(cache) == {"image2"}
    assert (cache / "keys/rsa/private.key").exists() and (cache / "images/new.1.part").exists()


def test_who_is_read_is_used(cache: Path) -> None:
    os.utime(cache / "images/image0/file", (NOW, NOW - 30 * DAY))
    assert [each.path.name for each in forget(cache, older=15 * DAY, most=None, now=NOW)] == ["image1"]


def test_by_size(cache: Path) -> None:
    assert forget(cache, older=None, most=10 << 20, now=NOW) == []
    forget(cache, older=None, most=250 << 10, now=NOW)
    assert _left(cache) == {"image1", "image2"}
    forget(cache, older=None, most=0, now=NOW)
    assert _left(cache) == set()


@pytest.mark.parametrize("words", [["--older", "soon"], ["--older", "0d"], ["--to", "much"]])
def test_what_is_no_span_or_size_is_named(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = CliRunner().invoke(main, ["forget", *words])
    assert done.exit_code == 2 and words[1] in done.stderr
