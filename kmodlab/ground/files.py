"""Files that are written whole, and files that a stranger made: read with care, removed however they are."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kmodlab.ground.errors import LabError
from kmodlab.ground.process import LONG


def remove_tree(path: Path) -> None:
    """Remove a folder, however deep and whatever its modes; one made in a user namespace is removed through one, too."""
    remove = ["rm", "-rf", "--", str(path)]
    open_folders = ["find", str(path), "-type", "d", "!", "-perm", "-u=rwx", "-exec", "chmod", "u+rwx", "--", "{}", ";"]
    through_one = ["unshare", "--user", "--map-root-user", "--map-auto", *remove]
    for commands in ([remove], [open_folders, remove], [through_one]):
        if not path.exists():
            return
        for command in commands:
            subprocess.run(command, check=False, capture_output=True, timeout=LONG)


@contextmanager
def scratch(purpose: str, within: Path | None = None) -> Iterator[Path]:
    """An empty folder for other people's code to work in, of which nothing remains, whatever it does there.

    It is in the temporary folder, which may be memory, or `within` another.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"kmodlab-{purpose}-", dir=within))
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


def there(name: str | Path) -> bool:
    """Whether there is such a file or folder: nothing is called by a name that none can have (of more than 255 bytes, say)."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


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
        raise LabError(f"cannot {work}: {problem.strerror}", hint="free some space or set XDG_CACHE_HOME") from problem


def write_aside(path: Path, content: str | bytes) -> None:
    """Write a whole file, then give it its name: a reader sees the old or the new, never half."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
        aside.replace(path)
    except OSError as problem:
        aside.unlink(missing_ok=True)
        raise LabError(f"cannot write {path}: {problem.strerror or problem}") from problem
