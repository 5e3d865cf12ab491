"""One lab's build roots and builds in another's cache: under that one's own names, known by the first one's, without its keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kmodlab.debian import archive, handover, roots
from kmodlab.debian.archive import Resolved, remembered
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.errors import LabError
from kmodlab.ground.parcel import pack
from kmodlab.plan.kernels import load_inventory

KERNEL = load_inventory()["6.12-x86_64"]


def lab(monkeypatch: pytest.MonkeyPatch, folder: Path, key: str, mirror: str) -> None:
    """From now on this is another lab: with a cache, an SSH key and a mirror of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(archive, "mirrors", lambda: (mirror, f"{mirror}-security"))
    ssh = cache_dir() / "ssh"
    ssh.mkdir(exist_ok=True)
    (ssh / "id_ed25519").write_text("PRIVATE")
    (ssh / "id_ed25519.pub").write_text(f"ssh-ed25519 {key}")


def answered(release: str, *, ago: float = 0.0) -> Resolved:
    lines = archive.sources(KERNEL, *archive.mirrors())
    asked = datetime.now(UTC) - timedelta(seconds=ago)
    return Resolved(kernel=KERNEL, release=release, version=f"{release}-1", sources=lines, asked=asked)


@pytest.fixture
def parcel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A parcel of a first lab's; what follows is another lab."""
    lab(monkeypatch, tmp_path / "first", "AAAA", "http://user:secret@mirror.first.invalid/debian")
    resolved = answered("6.12.118")
    archive.remember(resolved)
    root = roots.image_path(resolved, "build") / "root"
    for name, text in {
        "usr/bin/gcc": "gcc",
        "root/.ssh/authorized_keys": "ssh-ed25519 AAAA",
        "etc/ssh/ssh_host_ed25519_key": "PRIVATE",
        "etc/apt/sources.list": "deb http://user:secret@mirror.first.invalid/debian",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for folder in ("modules/hello-1-ab", "programs/cd", "modules/half-ef.123-4.part", "snapshots/6.12", "keys/x"):
        (cache_dir() / folder).mkdir(parents=True)
        (cache_dir() / folder / "file").write_text(folder)
    packed = handover.export([KERNEL], tmp_path / "parcel")
    assert packed.kernels == [KERNEL.id] and packed.entries == 3
    lab(monkeypatch, tmp_path / "second", "BBBB", "http://mirror.second.invalid/debian")
    yield tmp_path / "parcel"
    assert "PRIVATE" not in (tmp_path / "parcel").read_bytes().decode(errors="replace")


def everything(cache: Path) -> list[str]:
    """The files of a cache, but for what is only kept of this machine's own inventories."""
    found = (path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock" and path.parent.name != "inventories")
    return sorted(str(path.relative_to(cache)) for path in found)


def test_another_lab_finds_it_by_its_own_name_and_what_was_built_by_the_first_ones(tmp_path: Path, parcel: Path) -> None:
    brought = handover.bring(parcel)
    assert (brought.kernels, brought.new, brought.known) == ([KERNEL.id], 3, 0)
    image = roots.image_path(answered("6.12.118"), "build")
    (first,) = (tmp_path / "first/kmodlab/images").iterdir()
    assert image.name != first.name and roots.made_as(image) == first.name
    assert roots.made_as(first) == first.name
    assert everything(cache_dir()) == sorted(
        [
            f"images/{image.name}/made_as",
            f"images/{image.name}/root/usr/bin/gcc",
            "modules/hello-1-ab/file",
            "programs/cd/file",
            next(path for path in everything(cache_dir()) if path.startswith("resolved/")),
            "ssh/id_ed25519",
            "ssh/id_ed25519.pub",
        ]
    )
    assert handover.bring(parcel).known == 3


def test_it_can_be_handed_on_once_more(tmp_path: Path, parcel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handover.bring(parcel)
    handover.export([KERNEL], tmp_path / "onward")
    lab(monkeypatch, tmp_path / "third", "CCCC", "http://mirror.third.invalid/debian")
    handover.bring(tmp_path / "onward")
    (first,) = (tmp_path / "first/kmodlab/images").iterdir()
    assert roots.made_as(roots.image_path(answered("6.12.118"), "build")) == first.name


def test_the_newer_answer_stays_and_no_mirror_travels(parcel: Path) -> None:
    handover.bring(parcel)
    (known,) = remembered([KERNEL]).values()
    assert known.release == "6.12.118" and all("second.invalid" in line for line in known.sources)
    archive.remember(answered("6.12.999"))
    handover.bring(parcel)
    assert remembered([KERNEL])[KERNEL.id].release == "6.12.999"


def test_what_this_machine_or_version_would_make_otherwise_is_refused(
    parcel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(words: str) -> None:
        before = everything(cache_dir())
        with pytest.raises(LabError, match=words):
            handover.bring(parcel)
        assert everything(cache_dir()) == before

    with monkeypatch.context() as patch:
        patch.setattr(roots, "RECIPE", "another")
        refused("another kmodlab made its build root of 6.12-x86_64")
    with monkeypatch.context() as patch:
        patch.setattr(handover, "native_arch", lambda: "arm64")
        refused("is for x86_64, this machine is arm64; export it on such a machine")
    with monkeypatch.context() as patch:
        patch.setattr(handover, "load_inventory", dict)
        refused("or of another inventory")
    pack(parcel, [], "x86_64", "what nobody understands")
    refused("is of another kmodlab")


def test_there_is_nothing_to_hand_on_of_what_was_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab(monkeypatch, tmp_path, "AAAA", "http://mirror.invalid/debian")
    with pytest.raises(LabError, match=r"no build root of 6.12-x86_64; a run makes them"):
        handover.export([KERNEL], tmp_path / "parcel")
    assert not (tmp_path / "parcel").exists()
