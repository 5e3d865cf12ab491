"""Where kmodlab keeps what it made: keyed by content, locked against a second run, safe against a kill at any moment."""

from __future__ import annotations

import errno
import fnmatch
import glob
import hashlib
import os
import re
import stat
import subprocess
import tempfile
import threading
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
            yield str(file.relative_to(part)).encode(errors="surrogateescape")
            yield str(file.readlink()).encode(errors="surrogateescape") if file.is_symlink() else file.read_bytes()
    else:
        yield part.encode() if isinstance(part, str) else part


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if "__pycache__" not in file.parts)
    return (file for file in found if file.is_symlink() or file.is_file())


def remove_tree(path: Path) -> None:
    """Remove a folder, however deep and whatever its modes; one made in a user namespace is removed through one, too."""
    remove = ["rm", "-rf", "--", str(path)]
    open_folders = ["find", str(path), "-type", "d", "!", "-perm", "-u=rwx", "-exec", "chmod", "u+rwx", "--", "{}", ";"]
    through_one = ["unshare", "--user", "--map-root-user", "--map-auto", *remove]
    for commands in ([remove], [open_folders, remove], [through_one]):
        if not path.exists():
            return
        for command in commands:
            subprocess.run(command, check=False, capture_output=True)


@contextmanager
def scratch(purpose: str, *, large: bool = False) -> Iterator[Path]:
    """An empty folder for other people's code to work in, of which nothing remains, whatever it does there; a large one is where
    the caches are, not in a temporary folder that may be memory.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"kmodlab-{purpose}-", dir=cache_dir() if large else None))
    try:
        yield folder
    finally:
        remove_tree(folder)


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a file that a stranger made. LabError where it is a link or no file, or has more bytes than `limit`.

    The folders above it must be known to be none of the stranger's links: `regular_files` gives such paths.
    """
    try:
        # A pipe would be waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise LabError(f"{path.name} is no regular file")
            content = file.read(limit + 1)
    except OSError as problem:
        why = "it is a link" if problem.errno == errno.ELOOP else problem.strerror
        raise LabError(f"{path.name} cannot be read: {why}") from problem
    if len(content) > limit:
        raise LabError(f"{path.name} is larger than {limit >> 20} MiB")
    return content


def tail(path: Path, most: int, since: int = 0) -> str:
    """The end of a log that others may still write, from byte `since` on and no more than `most`; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since, size - most))
        return file.read(most).decode(errors="replace")


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What drives a terminal where a person looks at a file with it, but tabs and newlines."""


def printable(text: str) -> str:
    """Text that may be a stranger's, for a file that a person may look at: what would drive a terminal is written out, \\x1b."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text.replace("\r\n", "\n"))


def make_printable(path: Path) -> None:
    """The same for a whole log, in which a stranger's words are as they came."""
    with path.open("rb") as file:
        pieces = iter(lambda: file.readline(1 << 16), b"")
        if not any(CONTROL.search(piece.decode(errors="replace")) for piece in pieces):
            return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with path.open("rb") as file, aside.open("w", encoding="utf-8") as writer:
        for piece in iter(lambda: file.readline(1 << 16), b""):
            writer.write(printable(piece.decode(errors="replace")))
    aside.replace(path)


def ssh_quoted(path: Path) -> str:
    """A path as a value in SSH's configuration, where a per cent sign begins a token."""
    return '"{}"'.format(str(path).replace("%", "%%"))


def regular_files(folder: Path, pattern: str) -> list[Path]:
    """The files below a stranger's folder whose names match, sorted; no link is followed, and none is among them."""
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in fnmatch.filter(names, pattern))
    return sorted(path for path in found if stat.S_ISREG(path.lstat().st_mode))


@contextmanager
def no_space(work: str) -> Iterator[None]:
    """Say what could not be done where the disk is full."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise LabError(f"cannot {work}: {problem.strerror}; free some space or set XDG_CACHE_HOME") from problem


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
