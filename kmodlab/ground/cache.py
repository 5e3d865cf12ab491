"""Where kmodlab keeps what it made: keyed by content, locked against a second run, safe against a kill at any moment."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import no_space, remove_tree

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the Python package kmodlab."""
BUNDLED = PACKAGE.parent / "ansible_collections/kmodlab/lab"
"""The collection kmodlab.lab as a wheel brings it (pyproject.toml)."""
REPOSITORY = BUNDLED if BUNDLED.is_dir() else PACKAGE.parent
"""The checkout, or what an installed package has of it: playbooks, roles, inventories, examples and behaviour tests are here."""
COLLECTIONS = PACKAGE.parent if REPOSITORY == BUNDLED else REPOSITORY / ".cache/collections"
"""Where Ansible finds the collection kmodlab.lab: in a checkout, by a link that setup.sh makes."""


def cache_dir() -> Path:
    """The folder of all caches, `${XDG_CACHE_HOME:-~/.cache}/kmodlab`, made when missing."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "kmodlab"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise LabError(
            f"cannot make the cache folder {folder}: {problem.strerror}", hint="set XDG_CACHE_HOME to a place you may write"
        ) from problem
    return folder


def digest(*parts: str | bytes | Path, length: int = 16) -> str:
    """A content key (`length` hexadecimal digits of SHA-256) over strings, and over files and folders (names and bytes)."""
    sha = hashlib.sha256()
    for part in parts:
        for chunk in _chunks(part):
            sha.update(len(chunk).to_bytes(8, "big"))
            sha.update(chunk)
    return sha.hexdigest()[:length]


def _chunks(part: str | bytes | Path) -> Iterator[bytes]:
    if isinstance(part, Path):
        for file in sorted(_files(part)):
            yield str(file.relative_to(part)).encode(errors="surrogateescape")
            yield str(file.readlink()).encode(errors="surrogateescape") if file.is_symlink() else file.read_bytes()
    else:
        yield part.encode() if isinstance(part, str) else part


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if "__pycache__" not in file.parts)
    return (file for file in found if file.is_symlink() or file.is_file())


@contextmanager
def filled(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` to fill; it becomes `target` when the block ends without an error.

    Whoever finds `target` finds all of it. Several may make it at once: the first one's stays. What a killed maker left is
    removed by the next.
    """
    for left in target.parent.glob(f"{glob.escape(target.name)}.*.part"):
        if not Path("/proc", left.name.split(".")[-2].partition("-")[0]).exists():
            remove_tree(left)
    aside = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    aside.mkdir(parents=True)
    try:
        with no_space(f"write {target}"):
            yield aside
            try:
                aside.rename(target)
            except OSError as problem:
                if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
    finally:
        remove_tree(aside)


@contextmanager
def locked(name: str, *, wait: float, busy: str) -> Iterator[None]:
    """Hold the lock `name` of the cache; after `wait` seconds without it, a LabError that says `busy`."""
    lock = FileLock(cache_dir() / f"{name}.lock")
    try:
        lock.acquire(timeout=wait)
    except Timeout as problem:
        raise LabError(busy) from problem
    try:
        yield
    finally:
        lock.release()
