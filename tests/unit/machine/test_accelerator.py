"""Whether KVM can be had, told by what a machine says that tries it: here a script in QEMU's place."""

import os
from pathlib import Path

import pytest

from kmodlab.debian.roots import BootImage
from kmodlab.machine import accelerator as room
from kmodlab.plan.kernels import Kernel, load_inventory, native_arch


@pytest.fixture
def kernel() -> Kernel:
    return next(each for each in load_inventory().values() if each.kernel_arch == native_arch())


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BootImage:
    """A boot image, on a machine that has a KVM."""
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KMODLAB_ACCEL", raising=False)
    monkeypatch.setattr("os.access", lambda *_: True)
    monkeypatch.setattr(room, "qemu_version", lambda _: "7.2")
    return BootImage(tmp_path)


def says(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(room, "hold", lambda *_: ["sh", "-c", script])


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("echo '[ 0.1] kmodlab: probe ok'; sleep 1000", "kvm"),
        ("echo 'KVM internal error. Suberror: 1'; sleep 1000", "tcg"),
        ("echo 'qemu: failed to initialize kvm' >&2; exit 1", "tcg"),
    ],
)
def test_what_is_said_decides_and_is_not_asked_again(
    kernel: Kernel, image: BootImage, monkeypatch: pytest.MonkeyPatch, script: str, answer: str
) -> None:
    says(monkeypatch, script)
    assert room.accelerator(kernel, image) == answer
    says(monkeypatch, "exit 1" if answer == "kvm" else "echo 'kmodlab: probe ok'")
    assert room.accelerator(kernel, image) == answer


def test_a_busy_machine_is_asked_again_later(
    kernel: Kernel, image: BootImage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    says(monkeypatch, "exec sleep 1000")
    monkeypatch.setattr(room, "PROBE_LIMIT", 0.1)
    assert room.accelerator(kernel, image) == "tcg"
    says(monkeypatch, "echo 'kmodlab: probe ok'")
    monkeypatch.setattr(room, "PROBE_LIMIT", 60)
    assert room.accelerator(kernel, image) == "tcg", "not at once"
    (answer,) = (path for path in (tmp_path / "cache/kmodlab").glob("accelerator-*") if path.suffix != ".lock")
    os.utime(answer, (0, 0))
    assert room.accelerator(kernel, image) == "kvm"


def test_a_persons_word_counts(kernel: Kernel, image: BootImage, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, "exit 1")
    monkeypatch.setenv("KMODLAB_ACCEL", "kvm")
    assert room.accelerator(kernel, image) == "kvm"
