"""Which of the caches are removed when not all are: the ones that were not used for longest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from kmodlab.ground.files import remove_tree

ROOMS = ("images", "inventories", "kernels", "modules", "programs", "signed", "snapshots", "sources", "sparse", "lint")
"""The folders of the cache whose entries are made again where they are missing. Keys are not among them."""


@dataclass(frozen=True)
class Entry:
    """Something in the cache: `used` in seconds since 1970, `size` in bytes on the disk."""

    path: Path
    used: float
    size: int


def entries(cache: Path) -> list[Entry]:
    """All that may be removed, the one that was not used for longest first; what is being made is left out."""
    found = [
        _entry(path)
        for room in ROOMS
        for path in (cache / room).glob("*")
        if not path.name.startswith(".") and path.suffix not in (".part", ".lock")
    ]
    return sorted(found, key=lambda each: (each.used, str(each.path)))


def forget(cache: Path, *, older: float | None, most: int | None, now: float | None = None) -> list[Entry]:
    """Remove what was not used for `older` seconds, and then as much as it takes to have no more than `most` bytes."""
    kept = entries(cache)
    moment = time.time() if now is None else now
    gone = [each for each in kept if older is not None and moment - each.used > older]
    kept = [each for each in kept if each not in gone]
    size = sum(each.size for each in kept)
    while most is not None and kept and size > most:
        first, *kept = kept
        size -= first.size
        gone.append(first)
    for each in gone:
        remove_tree(each.path)
    return gone


def _entry(path: Path) -> Entry:
    """Its last use is the newest time at which any of its files was read or written."""
    used, size, seen = 0.0, 0, set()
    for each in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())):
        try:
            state = each.lstat()
        except OSError:
            continue
        used = max(used, state.st_mtime, 0.0 if each.is_dir() else state.st_atime)
        if state.st_ino not in seen:
            seen.add(state.st_ino)
            size += state.st_blocks * 512
    return Entry(path, used, size)
