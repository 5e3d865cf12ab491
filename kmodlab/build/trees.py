"""A tree of other people's sources, as it was when a run was planned: copied once, without following anything in it.

It is a folder, a source file with the headers beside it, or several of these, each in a folder of its own.

What is copied is bounded, for each of the folder's own folders apart, so that one of thirty submissions costs no other. What is
not copied is told by name, and why.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
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
from kmodlab.ground.files import no_space, remove_tree, scratch, there
from kmodlab.plan.catalog import FILE as CATALOG

MOST_FILES = 50_000
MOST_BYTES = 1 << 30
"""In a folder with all that is below it."""
MOST_TOLD = 100
"""Of what was not copied, so many are told by name."""
MOST_DEEP = 40
"""Folders in folders."""
GENERATED = re.compile(
    r"(\.(ko|o|mod|mod\.c|cmd|a|order|symvers)$)|(^__pycache__$)|(^\..*\.(d|swp|tmp)$)|(^\.(git|kmodlab|DS_Store|tmp_.*|#.*)$)"
)
"""Names of build products, and of what editors and git keep beside sources: never copied, never part of a key."""
HIDDEN = "."
"""What the names of folders begin with that belong to tools (.git, .venv, .vscode) and are not copied. Files may be sources'."""
ANY = re.compile("")
SOURCES = (".c", ".S", ".rs")
"""What a module of one file is written in."""
TESTS = "tests"
"""The folder, beside a catalog, of a project's own tests."""
FIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,99}\Z")
"""What a module may be called. A dot is between its folder's name and its own, where several folders have one of that name."""
PACKAGE = re.compile(r"^[a-z0-9][a-z0-9+.-]*-dkms(=\S+)?$")
"""How a package of such sources is called; NAME=VERSION for one that is not the newest."""
REMOTE = re.compile(r"^(\w+://|[\w.-]+@[\w.-]+:)")
"""How a repository somewhere else is called."""


class Tree(BaseModel):
    """A folder of sources and its copy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: Path
    """As the user has it."""
    folder: Path
    """The copy, in the cache under the name of its content: nobody writes to it."""
    refused: dict[str, str] = {}
    """What was not copied, by its path from the folder, and why."""
    origins: dict[str, Path] = {}
    """Where each folder of it comes from, where it is made of several."""
    tests: dict[str, Path] = {}
    """Where the own tests of each of these folders are, of a tree that is one folder by the name "": a copy of its `tests/`.
    Their Python files are not in `folder`: what is built does not depend on them."""

    def refusal(self, folder: Path) -> str:
        """Why a folder of the copy is not whole, in one line; empty where it is."""
        name = folder.relative_to(self.folder)
        found = (
            f"{self.named(self.folder / path)} {why}" for path, why in self.refused.items() if Path(path).is_relative_to(name)
        )
        return next(found, "")

    def named(self, folder: Path) -> Path:
        """A path of the copy as the user knows it."""
        path = folder.relative_to(self.folder)
        if self.origins and path.parts:
            return self.origins[path.parts[0]].joinpath(*path.parts[1:])
        return self.origin / path


def copied(asked: str | Path) -> Tree:
    """Copy what MODULES names, or find its copy. LabError where it cannot be read at all, or the disk is full."""
    places = _places(asked)
    store = cache_dir() / "sources"
    store.mkdir(exist_ok=True)
    origins = {} if len(places) == 1 else _named_apart(places)
    origin = places[0] if len(places) == 1 else Path(os.path.commonpath(places))
    refused: dict[str, str] = {}
    with no_space(f"copy {origin} to {store}"):
        aside = Path(tempfile.mkdtemp(suffix=".part", dir=store))
        try:
            if not origins:
                refused = _copy(origin, aside)
            for name, place in origins.items():
                (aside / name).mkdir()
                refused |= {f"{name}/{path}": why for path, why in _copy(place, aside / name).items()}
            tests = {name: found for name in origins or ("",) if (found := _tests_apart(aside / name, store))}
            target = _kept(aside, store)
        finally:
            remove_tree(aside)
    origin = origin if origin.is_dir() else origin.parent
    return Tree(origin=origin, folder=target, refused=refused, origins=origins, tests=tests)


def _kept(folder: Path, store: Path) -> Path:
    """A folder as it is from now on, by the name of its content."""
    folder.chmod(0o755)
    target = store / digest(folder)
    with suppress(OSError):  # it is there already
        folder.rename(target)
    return target


def _tests_apart(folder: Path, store: Path) -> Path | None:
    """Copy a folder's own tests to a place of their own, and take their Python files away. None where it has none."""
    tests = folder / TESTS
    if not (folder / CATALOG).is_file() or tests.is_symlink() or not any(tests.rglob("test_*.py")):
        return None  # who has no catalog has never heard of us: those are tests of something else
    aside = Path(tempfile.mkdtemp(suffix=".part", dir=store))
    try:
        shutil.copytree(tests, aside / TESTS, symlinks=True)
        for file in tests.rglob("*.py"):
            file.unlink()
        for empty in (*sorted(tests.rglob("*/"), reverse=True), tests):
            with suppress(OSError):
                empty.rmdir()
        return _kept(aside, store) / TESTS
    finally:
        remove_tree(aside)


def _places(asked: str | Path) -> list[Path]:
    """The folders and files that MODULES names: one, whose name may hold spaces, or several."""
    text = str(asked)
    words = [text] if isinstance(asked, Path) else words_of(text)
    for word in words:
        place = Path(word)
        if REMOTE.match(word):
            raise LabError(f"MODULES: {word} is on the network, where nothing is fetched from: clone it, and name its folder")
        if not there(place):
            raise LabError(f"MODULES: {word} is no folder, and no file", hint="name what holds modules and their Makefile")
        if place.is_dir() and (place / "HEAD").is_file() and (place / "objects").is_dir():
            raise LabError(f"MODULES: {word} is a repository without its files: clone it, and name the clone's folder")
        if not place.is_dir() and place.suffix not in SOURCES:
            raise LabError(f"MODULES: {word} is no folder, and no source in {', '.join(SOURCES)}")
        if not place.is_dir() and not FIT.match(place.stem):
            raise LabError(f"MODULES: {word}: a module's name has letters, digits, _, - and + only: rename the file")
    if not words:
        raise LabError("MODULES: names nothing", hint="name a folder that holds modules and their Makefile")
    return list(dict.fromkeys(Path(word).resolve() for word in words))


def packages_in(asked: str | Path) -> list[str]:
    """The packages of the archive that MODULES names: x-dkms, where there is no such folder."""
    words = [] if isinstance(asked, Path) else words_of(asked)
    return [word for word in words if PACKAGE.match(word) and not there(word)]


def words_of(text: str) -> list[str]:
    """The words of MODULES: one where there is such a folder or file, whose name may hold blanks."""
    if text and there(text):
        return [text]
    try:
        return shlex.split(text)
    except ValueError as problem:
        raise LabError(f"MODULES: {text}: {problem}") from problem


def absolute(asked: str | Path) -> str:
    """The same words of MODULES, wherever they are said again."""
    words = [str(asked)] if isinstance(asked, Path) else words_of(asked)
    return shlex.join(str(Path(word).absolute()) if there(word) else word for word in words)


def _named_apart(places: list[Path]) -> dict[str, Path]:
    """Each by a name of its own: its folder's in the copy."""
    named: dict[str, Path] = {}
    for place in places:
        name = place.stem if place.is_file() else place.name
        number = sum(name in (each, each.rpartition("-")[0]) for each in named)
        named[f"{name}-{number + 1}" if number else name] = place
    return named


def _copy(origin: Path, target: Path) -> dict[str, str]:
    """Copy a folder; or a source file, the headers beside it, and rules to build it by. What was refused."""
    if origin.is_dir():
        return _Copy(target).all_of(origin)
    refused = _Copy(target).some_of(origin.parent, re.compile(rf"^({re.escape(origin.name)}|.*\.h)$"))
    (target / "Makefile").write_text(f"obj-m := {origin.stem}.o\n")
    return refused


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

    def some_of(self, origin: Path, names: re.Pattern[str]) -> dict[str, str]:
        """Copy some of its files; what was refused."""
        with _opened(origin) as source:
            self._files_of(source, PurePosixPath(), names)
        return self._refused

    def _files_of(self, source: int, path: PurePosixPath, names: re.Pattern[str] = ANY) -> list[str]:
        """Copy what is in a folder but its folders; their names."""
        with os.scandir(source) as found:
            wanted = (each for each in found if not GENERATED.search(each.name) and names.search(each.name))
            entries = sorted(islice(wanted, MOST_FILES + 1), key=lambda each: each.name)
        folders = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders += [entry.name] if not entry.name.startswith(HIDDEN) else []
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
