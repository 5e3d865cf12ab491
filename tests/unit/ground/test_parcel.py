"""A parcel is what was packed, or it is refused before anything of it is unpacked."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodlab.ground.errors import LabError
from kmodlab.ground.parcel import Item, opened, pack, unpack

ROOMS = ("modules", "images")


def packed(tmp_path: Path) -> Path:
    """A parcel of a build and a root."""
    build, root = tmp_path / "cache/modules/hello-1-ab", tmp_path / "cache/images/6.12-build-cd"
    (build / "deep").mkdir(parents=True)
    (build / "hello-1.ko").write_bytes(b"\x7fELF")
    (build / "deep/build.log").write_text("made\n")
    (root / "root/etc/ssh").mkdir(parents=True)
    (root / "root/etc/ssh/ssh_host_ed25519_key").write_text("secret")
    (root / "root/usr").mkdir()
    (root / "root/usr/su").write_text("")
    (root / "root/usr/su").chmod(0o4755)
    (root / "root/bin").symlink_to("/usr")
    parcel = tmp_path / "parcel"
    items = [Item("modules", build), Item("images", root, system=True, without=("root/etc/ssh/*_key",))]
    pack(parcel, items, "x86_64", "a note")
    return parcel


def taken(parcel: Path, place: Path, **more: str) -> dict[str, Path]:
    """What comes out of it, by name."""
    place.mkdir(exist_ok=True)
    found = {}
    with opened(parcel, ROOMS, place, **more) as (manifest, files):
        assert (manifest.arch, manifest.note) == ("x86_64", "a note")
        for entry, file in files.items():
            found[entry.name] = place / entry.name
            found[entry.name].mkdir()
            unpack(entry, file, found[entry.name])
    return found


def refused(parcel: Path, place: Path, **more: str) -> str:
    place.mkdir()
    with pytest.raises(LabError) as problem, opened(parcel, ROOMS, place, **more):
        pytest.fail("it was taken")
    assert list(place.iterdir()) == [], "nothing remains of it"
    assert "\n" not in str(problem.value)
    return str(problem.value)


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    parcel = packed(tmp_path)
    found = taken(parcel, tmp_path / "there", sha256=hashlib.sha256(parcel.read_bytes()).hexdigest().upper())
    build, root = found["hello-1-ab"], found["6.12-build-cd"]
    assert (build / "hello-1.ko").read_bytes() == b"\x7fELF" and (build / "deep/build.log").read_text() == "made\n"
    assert (root / "root/bin").readlink() == Path("/usr")
    assert (root / "root/usr/su").stat().st_mode & 0o7777 == 0o4755
    assert not (root / "root/etc/ssh/ssh_host_ed25519_key").exists()


def test_another_file_than_was_told_of_is_refused(tmp_path: Path) -> None:
    assert "is another file" in refused(packed(tmp_path), tmp_path / "there", sha256="00")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.7, 0.85, 0.999])
def test_a_part_of_one_is_refused(tmp_path: Path, part: float) -> None:
    parcel = packed(tmp_path)
    with tarfile.open(parcel) as tar:
        end = max(member.offset_data + member.size for member in tar)
    parcel.write_bytes(parcel.read_bytes()[: int(end * part)])
    said = refused(parcel, tmp_path / "there")
    assert any(words in said for words in ("a part of one", "is not whole", "does not begin", "is not what was packed")), said


def test_every_changed_bit_of_an_entry_is_seen(tmp_path: Path) -> None:
    parcel = packed(tmp_path)
    content = bytearray(parcel.read_bytes())
    with tarfile.open(parcel) as tar:
        places = [member.offset_data + member.size // 2 for member in tar if member.name != "manifest.json"]
    for number, place in enumerate(places):
        changed = content.copy()
        changed[place] ^= 4
        parcel.write_bytes(changed)
        assert "is not what was packed" in refused(parcel, tmp_path / f"there-{number}")


@pytest.mark.parametrize("content", [b"", b"no parcel at all" * 100, b"\0" * 10240])
def test_what_is_no_parcel_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "parcel").write_bytes(content)
    assert "is no parcel" in refused(tmp_path / "parcel", tmp_path / "there")


def forged(
    tmp_path: Path, members: list[tarfile.TarInfo], *, system: bool = False, room: str = "modules", name: str = "x"
) -> Path:
    """A parcel whose digests are right, and whose one entry holds these."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"\0" * member.size))
    compressed = subprocess.run(["zstd", "-qc"], input=inner.getvalue(), capture_output=True, check=True).stdout
    entry = {"room": room, "name": name, "system": system}
    entry |= {"size": len(compressed), "sha256": hashlib.sha256(compressed).hexdigest()}
    manifest = json.dumps({"parcel": 1, "kmodlab": "0", "arch": "x86_64", "entries": [entry], "note": ""}).encode()
    with tarfile.open(tmp_path / "forged", "w") as tar:
        for path, content in (("manifest.json", manifest), (f"{room}/{name}.tar.zst", compressed)):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return tmp_path / "forged"


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", device: tuple[int, int] = (0, 0), mode: int = 0o644
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.devmajor, info.devminor = device
    return info


PLAIN: dict[str, tuple[list[tarfile.TarInfo], str]] = {
    "up": ([member("../../keys/signing.pem")], "leads out of its folder"),
    "up from within": ([member("a/../../b")], "leads out of its folder"),
    "from the top": ([member("/etc/passwd")], "leads out of its folder"),
    "a link": ([member("a", tarfile.SYMTYPE, "/etc/shadow")], "is no plain file"),
    "a hard link": ([member("a", tarfile.LNKTYPE, "../x")], "is no plain file"),
    "a device": ([member("null", tarfile.CHRTYPE, device=(1, 3))], "is no plain file"),
    "a pipe": ([member("a", tarfile.FIFOTYPE)], "is no plain file"),
    "another user's": ([member("a", mode=0o4755)], "runs as another user"),
}
SYSTEM: dict[str, tuple[list[tarfile.TarInfo], str]] = {
    "up": ([member("root/../../x")], "leads out of its folder"),
    "through a link": ([member("root/a", tarfile.SYMTYPE, "/etc"), member("root/a/passwd")], "goes through a link"),
    "over a link": ([member("root/a", tarfile.SYMTYPE, "/etc/passwd"), member("root/a")], "goes through a link"),
    "a hard link out": ([member("root/a", tarfile.LNKTYPE, "../../../etc/shadow")], "is another file's"),
    "a hard link to a link": (
        [member("root/a", tarfile.SYMTYPE, "/x"), member("root/b", tarfile.LNKTYPE, "root/a")],
        "another file's",
    ),
    "a disk": ([member("root/dev/null", tarfile.BLKTYPE, device=(8, 0))], "is a device"),
    "memory by another name": ([member("root/dev/null", tarfile.CHRTYPE, device=(1, 1))], "is a device"),
    "a device elsewhere": ([member("root/null", tarfile.CHRTYPE, device=(1, 3))], "is a device"),
    "a pipe": ([member("root/dev/zero", tarfile.FIFOTYPE)], "is a device"),
}


@pytest.mark.parametrize("what", PLAIN)
def test_a_build_is_plain_files_in_its_folder(tmp_path: Path, what: str) -> None:
    members, words = PLAIN[what]
    assert words in refused(forged(tmp_path, members), tmp_path / "there")


@pytest.mark.parametrize("what", SYSTEM)
def test_a_root_reaches_nothing_outside(tmp_path: Path, what: str) -> None:
    members, words = SYSTEM[what]
    assert words in refused(forged(tmp_path, members, system=True, room="images"), tmp_path / "there")


def test_what_a_root_has_is_none_of_that(tmp_path: Path) -> None:
    members = [
        member("root", tarfile.DIRTYPE, mode=0o755),
        member("root/bin", tarfile.SYMTYPE, "usr/bin"),
        member("root/usr/bin/a"),
        member("root/usr/bin/b", tarfile.LNKTYPE, "root/usr/bin/a"),
        member("root/dev/null", tarfile.CHRTYPE, device=(1, 3)),
    ]
    (tmp_path / "there").mkdir()
    with opened(forged(tmp_path, members, system=True, room="images"), ROOMS, tmp_path / "there") as (_, files):
        assert len(files) == 1


@pytest.mark.parametrize(
    ("room", "name"), [("keys", "x"), ("ssh", "id_ed25519"), ("modules", "../x"), ("modules", ".x"), ("modules", "a/b")]
)
def test_no_entry_is_for_another_place(tmp_path: Path, room: str, name: str) -> None:
    assert "is nothing that travels" in refused(forged(tmp_path, [], room=room, name=name), tmp_path / "there")


def appended(parcel: Path, add: Callable[[tarfile.TarFile], None]) -> Path:
    with tarfile.open(parcel, "a") as tar:
        add(tar)
    return parcel


def test_what_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    parcel = appended(packed(tmp_path), lambda tar: tar.addfile(member("../../etc/cron.d/x")))
    assert "'../../etc/cron.d/x' is no part of it" in refused(parcel, tmp_path / "there")


def test_an_entry_twice_or_as_a_link_is_refused(tmp_path: Path) -> None:
    name = "modules/hello-1-ab.tar.zst"
    twice = appended(packed(tmp_path / "twice"), lambda tar: tar.addfile(member(name)))
    assert f"'{name}' is no part of it" in refused(twice, tmp_path / "there")
    parcel = packed(tmp_path / "link")
    with tarfile.open(parcel) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest
        content = manifest.read()
    with tarfile.open(parcel, "w") as tar:
        first = member("manifest.json")
        first.size = len(content)
        tar.addfile(first, io.BytesIO(content))
        tar.addfile(member(name, tarfile.SYMTYPE, "/etc/shadow"))
    assert f"'{name}' is no part of it" in refused(parcel, tmp_path / "elsewhere")


def test_one_that_lacks_an_entry_is_refused(tmp_path: Path) -> None:
    whole = forged(tmp_path, [])
    with tarfile.open(whole) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest
        content = manifest.read()
    with tarfile.open(whole, "w") as tar:
        first = member("manifest.json")
        first.size = len(content)
        tar.addfile(first, io.BytesIO(content))
    assert "lacks modules/x.tar.zst" in refused(whole, tmp_path / "there")
