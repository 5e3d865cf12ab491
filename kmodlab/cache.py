"""Where kmodlab keeps what it made: keyed by content, locked against a second run, safe against a kill at any moment."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kmodlab.errors import LabError

REPOSITORY = Path(__file__).resolve().parent.parent
"""The checkout: playbooks, roles and inventories are found here."""


def cache_dir() -> Path:
    """The folder of all caches, `${XDG_CACHE_HOME:-~/.cache}/kmodlab`, made when missing."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "kmodlab"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise LabError(
            f"cannot make the cache folder {folder}: {problem.strerror}; set XDG_CACHE_HOME to a place you may write"
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
            yield str(file.relative_to(part)).encode()
            yield file.read_bytes()
    else:
        yield part.encode() if isinstance(part, str) else part


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def remove_tree(path: Path) -> None:
    """Remove a folder; one made in a user namespace belongs to subordinate ids and is removed through one, too."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        command = ["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", "--", str(path)]
        subprocess.run(command, check=False, capture_output=True)


@contextmanager
def filled(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` to fill; it becomes `target` when the block ends without an error.

    Whoever finds `target` finds all of it: a killed maker leaves only a `.part` folder, which the next one removes.
    """
    aside = target.with_name(target.name + ".part")
    remove_tree(aside)
    aside.mkdir(parents=True)
    try:
        yield aside
        remove_tree(target)
        aside.rename(target)
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise LabError(f"cannot write {target}: {problem.strerror}; free some space or set XDG_CACHE_HOME") from problem
    finally:
        remove_tree(aside)


def write_aside(path: Path, content: str | bytes) -> None:
    """Write a whole file, then give it its name: a reader sees the old or the new, never half."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        aside.replace(path)
    except OSError as problem:
        aside.unlink(missing_ok=True)
        raise LabError(f"cannot write {path}: {problem.strerror or problem}") from problem


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
