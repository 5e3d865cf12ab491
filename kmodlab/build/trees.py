"""A folder of other people's sources, as it was when a run was planned: copied once, without following anything in it.

What is copied is bounded, for each of the folder's own folders apart, so that one of thirty submissions costs no other. What is
not copied is told by name, and why.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from kmodlab.ground.cache import cache_dir, digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import no_space, remove_tree, scratch

MOST_FILES = 50_000
MOST_BYTES = 1 << 30
"""In a folder with all that is below it."""
MOST_TOLD = 100
"""Of what was not copied, so many are told by name."""
MOST_DEEP = 40
"""Folders in folders."""
GENERATED = re.compile(r"(\.(ko|o|mod|mod\.c|cmd|a|order|symvers)$)|(^\.)|(^__pycache__$)")
"""Names of build products and hidden files: never copied, never part of a key."""


class Tree(BaseModel):
    """A folder of sources and its copy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: Path
    """As the user has it."""
    folder: Path
    """The copy, in the cache under the name of its content: nobody writes to it."""
    refused: dict[str, str] = {}
    """What was not copied, by its path from the folder, and why."""

    def refusal(self, folder: Path) -> str:
        """Why a folder of the copy is not whole, in one line; empty where it is."""
        name = folder.relative_to(self.folder)
        found = (f"{self.origin / path} {why}" for path, why in self.refused.items() if Path(path).is_relative_to(name))
        return next(found, "")

    def named(self, folder: Path) -> Path:
        """A path of the copy as the user knows it."""
        return self.origin / folder.relative_to(self.folder)


def copied(origin: Path) -> Tree:
    """Copy a folder, or find its copy. LabError where it cannot be read at all, or the disk is full."""
    if not origin.is_dir():
        raise LabError(f"MODULES: {origin} is no folder; name one that holds modules and their Makefile")
    origin = origin.resolve()
    store = cache_dir() / "sources"
    store.mkdir(exist_ok=True)
    with no_space(f"copy {origin} to {store}"):
        aside = Path(tempfile.mkdtemp(suffix=".part", dir=store))
        try:
            refused = _Copy(aside).all_of(origin)
            aside.chmod(0o755)
            target = store / digest(aside)
            with suppress(OSError):  # it is there already
                aside.rename(target)
        finally:
            remove_tree(aside)
    return Tree(origin=origin, folder=target, refused=refused)


@cache
def content(folder: Path) -> str:
    """The content key of a copy or of a folder in one, which never change."""
    return digest(folder)


@contextmanager
def working_copy(folder: Path) -> Iterator[Path]:
    """A copy of sources for a sandbox to work in, of which nothing remains."""
    with scratch("work") as place:
        shutil.copytree(folder, place / "work", symlinks=True)
        yield place / "work"


class _RefusedError(Exception):
    """Something is not copied: why."""


class _Copy:
    """The copying of one folder. Files are opened by their folder's descriptor: no link put there meanwhile is followed."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._refused: dict[str, str] = {}
        self._files = 0
        self._bytes = 0

    def all_of(self, origin: Path) -> dict[str, str]:
        """Copy it; what was refused."""
        with _opened(origin) as source:
            for name in self._files_of(source, PurePosixPath()):
                before = self._files, self._bytes
                self._folder(source, PurePosixPath(name))
                self._files, self._bytes = before
        return self._refused

    def _files_of(self, source: int, path: PurePosixPath) -> list[str]:
        """Copy what is in a folder but its folders; their names."""
        with os.scandir(source) as found:
            wanted = (each for each in found if not GENERATED.search(each.name))
            entries = sorted(islice(wanted, MOST_FILES + 1), key=lambda each: each.name)
        folders = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
                continue
            with self._refusing(path / entry.name):
                if entry.is_symlink():
                    self._link(source, path / entry.name)
                else:
                    self._file(source, path / entry.name)
        return folders

    def _folder(self, parent: int, path: PurePosixPath) -> None:
        with self._refusing(path):
            if len(path.parts) > MOST_DEEP:
                raise _RefusedError(f"is more than {MOST_DEEP} folders deep: what is below it is not copied")
            self._count(0)
            with _opened(path.name, parent) as source:
                (self._target / path).mkdir()
                for name in self._files_of(source, path):
                    self._folder(source, path / name)

    @contextmanager
    def _refusing(self, path: PurePosixPath) -> Iterator[None]:
        try:
            yield
        except _RefusedError as problem:
            self._refuse(path, str(problem))
        except PermissionError:
            self._refuse(path, "cannot be read by who runs kmodlab: mend its mode")
        except OSError as problem:
            if problem.errno not in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.ENXIO):
                raise
            self._refuse(path, "was changed while it was copied: start again when nobody does")

    def _refuse(self, path: PurePosixPath, why: str) -> None:
        if len(self._refused) < MOST_TOLD:
            self._refused[str(path)] = why

    def _link(self, source: int, path: PurePosixPath) -> None:
        leads = os.readlink(path.name, dir_fd=source)
        parts = PurePosixPath(leads).parts
        up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
        # After a name, which may be a link's, ".." may lead anywhere.
        if leads.startswith("/") or up >= len(path.parts) or ".." in parts[up:]:
            raise _RefusedError(f"leads out of the folder, to {leads}: put what it leads to there itself")
        self._count(0)
        (self._target / path).symlink_to(leads)

    def _file(self, source: int, path: PurePosixPath) -> None:
        # A pipe would be waited for; what is no file any more when it is open is not read.
        file = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source)
        with os.fdopen(file, "rb"):
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise _RefusedError("is no regular file: take it out")
            self._count(found.st_size)
            target = self._target / path
            with target.open("xb") as writer:
                left = found.st_size  # it may grow meanwhile
                while left and (sent := os.sendfile(writer.fileno(), file, None, left)):
                    left -= sent
            target.chmod(0o755 if found.st_mode & 0o111 else 0o644)
            os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns))

    def _count(self, size: int) -> None:
        if self._files >= MOST_FILES:
            raise _RefusedError(f"is one file too many: a folder may have {MOST_FILES} in all")
        if self._bytes + size > MOST_BYTES:
            raise _RefusedError(f"of {size} bytes is too large: a folder may have {MOST_BYTES >> 20} MiB in all")
        self._files, self._bytes = self._files + 1, self._bytes + size


@contextmanager
def _opened(path: str | Path, parent: int | None = None) -> Iterator[int]:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield folder
    finally:
        os.close(folder)
