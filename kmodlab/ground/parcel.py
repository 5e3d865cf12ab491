"""A parcel: one file with several folders in it, to carry from one machine to another. All is checked before any is unpacked.

It is a plain tar of regular files: `manifest.json`, then each entry as a compressed tar of its own, `ROOM/NAME.tar.zst`, whose
size and SHA-256 the manifest has. That finds what was damaged or cut off. Whoever may write the file may write the manifest, too:
so no entry may reach out of its folder, either, and the parcel's own digest can be given by another way (`sha256`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kmodlab import __version__
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import no_space, scratch
from kmodlab.ground.process import LONG

MANIFEST = "manifest.json"
MOST_MANIFEST = 64 << 20
MOST = 16 << 30
"""Bytes of an entry, packed or not."""
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
DEVICES = {
    "console": (5, 1),
    "full": (1, 7),
    "null": (1, 3),
    "ptmx": (5, 2),
    "random": (1, 8),
    "tty": (5, 0),
    "urandom": (1, 9),
    "zero": (1, 5),
}
"""What a system's /dev may hold, with major and minor numbers: what every one has."""
ZSTD = "zstd -q -T0 -3"
_CHUNK = 1 << 20


class Entry(BaseModel):
    """One folder of a parcel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    room: str
    name: str
    system: bool = False
    """Whether it holds a system's root: with links, owners and devices. All others are plain files in folders."""
    size: int
    sha256: str

    @property
    def member(self) -> str:
        """Its file in the parcel."""
        return f"{self.room}/{self.name}.tar.zst"


class Manifest(BaseModel):
    """What a parcel says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parcel: Literal[1] = 1
    kmodlab: str = __version__
    arch: str
    """Of the machine on which all of it was made, and for which it is."""
    entries: list[Entry]
    note: str = ""
    """What else whoever packed it has to say to whoever unpacks it."""


@dataclass(frozen=True)
class Item:
    """A folder to be packed."""

    room: str
    folder: Path
    system: bool = False
    without: tuple[str, ...] = ()
    """Patterns of what is left out, from the folder on."""


def pack(target: Path, items: Sequence[Item], arch: str, note: str) -> str:
    """Make a parcel; its SHA-256. LabError where it cannot be written."""
    with no_space(f"write {target}"), scratch("parcel", target.parent) as aside:
        entries = [_packed(item, aside) for item in items]
        (aside / MANIFEST).write_text(Manifest(arch=arch, entries=entries, note=note).model_dump_json(indent=1))
        whole = aside / "parcel"
        with tarfile.open(whole, "w", format=tarfile.PAX_FORMAT) as tar:
            for name in (MANIFEST, *(entry.member for entry in entries)):
                tar.add(aside / name, name, recursive=False, filter=_anonymous)
        found = _digest(whole)
        whole.replace(target)
    return found


@contextmanager
def opened(parcel: Path, rooms: Sequence[str], place: Path, *, sha256: str = "") -> Iterator[tuple[Manifest, dict[Entry, Path]]]:
    """A parcel's entries, each as a file of which all is checked. LabError, before any can be used, where anything is wrong.

    `rooms`: those that entries may be for. `place`: the folder in which they are put for so long.
    `sha256`: of the parcel, where somebody told it.
    """
    with scratch("parcel", place) as aside:
        try:
            if sha256 and (found := _digest(parcel)) != sha256.lower():
                raise LabError(f"{parcel} is another file: its SHA-256 is {found}", hint="get it again")
            with no_space(f"unpack {parcel}"), tarfile.open(parcel, "r:") as tar:
                manifest = _manifest(parcel, tar, rooms)
                checked = _taken_out(parcel, tar, manifest, aside)
        except tarfile.TarError as problem:
            raise LabError(f"{parcel} is no parcel, or a part of one: {problem}", hint="get it again") from problem
        except OSError as problem:
            raise LabError(f"{parcel} cannot be read: {problem.strerror or problem}") from problem
        yield manifest, checked


def unpack(entry: Entry, packed: Path, into: Path) -> None:
    """Fill a folder with an entry that `opened` has given. A system's root has many owners: that takes root or sudo."""
    if not entry.system:
        with _reader(packed) as tar:
            for member in tar:
                path = into / member.name
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                elif content := tar.extractfile(member):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("wb") as writer:
                        shutil.copyfileobj(content, writer)
                    path.chmod(member.mode & 0o777)
        return
    owners = ["--same-owner", "--same-permissions", "--numeric-owner"]
    command = [*_as_root(), "tar", "--extract", f"--file={packed}", f"--directory={into}", "--zstd", *owners]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONG)
    if answer.returncode:
        said = (answer.stderr.strip().splitlines() or ["no word"])[0]
        raise LabError(
            f"{entry.member} cannot be unpacked: {said}", hint="a system's root takes root, or a sudo that does not ask"
        )


def _packed(item: Item, aside: Path) -> Entry:
    entry = Entry(room=item.room, name=item.folder.name, system=item.system, size=0, sha256="")
    file = aside / entry.member
    file.parent.mkdir(exist_ok=True)
    command = [
        *(_as_root() if item.system else ()),
        "tar",
        "--create",
        f"--file={file}",
        f"--use-compress-program={ZSTD}",
        "--numeric-owner",
    ]
    command += [*(f"--exclude=./{pattern}" for pattern in item.without), f"--directory={item.folder}", "--files-from=-"]
    names = "".join(f"./{path.name}\n" for path in sorted(item.folder.iterdir()))
    answer = subprocess.run(command, input=names, capture_output=True, text=True, check=False, timeout=LONG)
    if answer.returncode:
        said = (answer.stderr.strip().splitlines() or ["no word"])[0]
        raise LabError(f"{item.folder} cannot be packed: {said}")
    return entry.model_copy(update={"size": file.stat().st_size, "sha256": _digest(file)})


def _as_root() -> list[str]:
    """What a command begins with that reads or makes other users' files."""
    return ["sudo", "-n"] if os.geteuid() else []


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _digest(file: Path) -> str:
    with file.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _manifest(parcel: Path, tar: tarfile.TarFile, rooms: Sequence[str]) -> Manifest:
    first = tar.next()
    content = tar.extractfile(first) if first and first.name == MANIFEST and first.isreg() else None
    if not first or not content or first.size > MOST_MANIFEST:
        raise LabError(f"{parcel} is no parcel: it does not begin with {MANIFEST}", hint="make one by `kmodlab cache export`")
    try:
        manifest = Manifest.model_validate(json.loads(content.read()))
    except (ValidationError, ValueError) as problem:
        raise LabError(f"{parcel}: its manifest cannot be read", hint="export it again with this version") from problem
    for entry in manifest.entries:
        if entry.room not in rooms or not SAFE_NAME.fullmatch(entry.name) or not 0 <= entry.size <= MOST:
            raise LabError(f"{parcel}: {entry.room}/{entry.name!r} is nothing that travels", hint="do not use this file")
    return manifest


def _taken_out(parcel: Path, tar: tarfile.TarFile, manifest: Manifest, aside: Path) -> dict[Entry, Path]:
    """The entries as files, each checked; nothing but what the manifest names may be there."""
    owed = {entry.member: entry for entry in manifest.entries}
    found: dict[Entry, Path] = {}
    while member := tar.next():
        entry = owed.pop(member.name, None)
        reader = tar.extractfile(member) if entry and member.isreg() else None
        if not entry or not reader:
            raise LabError(f"{parcel}: {member.name!r} is no part of it", hint="do not use this file")
        path = aside / f"{len(found)}.tar.zst"
        sha = _copied(reader, path)
        if (path.stat().st_size, sha) != (entry.size, entry.sha256):
            raise LabError(f"{parcel}: {entry.member} is not what was packed: its SHA-256 is {sha}", hint="get it again")
        insist_inside(parcel, entry, path)
        found[entry] = path
    if owed:
        raise LabError(f"{parcel} is not whole: it lacks {next(iter(owed))}", hint="get it again")
    return found


def _copied(reader: IO[bytes], target: Path) -> str:
    sha = hashlib.sha256()
    with target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            sha.update(chunk)
            writer.write(chunk)
    return sha.hexdigest()


def insist_inside(parcel: Path, entry: Entry, packed: Path) -> None:
    """LabError where what an entry holds would reach out of its folder, or is no plain file where it should be one."""
    links: set[PurePosixPath] = set()
    files: set[PurePosixPath] = set()
    size = 0
    with _reader(packed) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            size += member.size
            wrong = _wrong(entry, member, path, links, files)
            if wrong or size > MOST:
                raise LabError(f"{parcel}: {entry.member}: {member.name!r} {wrong or 'is too much'}", hint="do not use this file")
            (links if member.issym() else files).add(path)


@contextmanager
def _reader(packed: Path) -> Iterator[tarfile.TarFile]:
    """A compressed tar, from its first member to its last."""
    with subprocess.Popen(["zstd", "-qdc", str(packed)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        try:
            with tarfile.open(fileobj=reader.stdout, mode="r|") as tar:
                yield tar
        finally:
            reader.kill()


def _wrong(
    entry: Entry, member: tarfile.TarInfo, path: PurePosixPath, links: set[PurePosixPath], files: set[PurePosixPath]
) -> str:
    """Why a member of an entry's tar is refused; nothing where it is as it should be."""
    if path.is_absolute() or ".." in path.parts:
        return "leads out of its folder"
    if links.intersection(path.parents) or path in links:
        return "goes through a link"
    if member.isreg() or member.isdir():
        return "runs as another user" if member.mode & 0o6000 and member.isreg() and not entry.system else ""
    if not entry.system:
        return "is no plain file"
    if member.issym():
        return ""
    if member.islnk():
        return "" if PurePosixPath(member.linkname) in files else "is another file's, which is not here"
    device = (member.devmajor, member.devminor)
    if member.ischr() and path.parent == PurePosixPath("root/dev") and DEVICES.get(path.name) == device:
        return ""
    return "is a device, or a pipe"
