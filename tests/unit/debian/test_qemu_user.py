"""Programs of another architecture: registered where nobody did, refused in one line where that cannot be."""

import os
import subprocess
from pathlib import Path

import pytest

from kmodlab.debian import qemu_user
from kmodlab.ground.errors import LabError

RULE = r":qemu-aarch64:M::\x7fELF:\xff\xff\xff\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:OPF"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of root's without handlers: its programs run once a rule for them has been registered."""
    (tmp_path / "qemu-aarch64.conf").write_text(f"# from the package\n{RULE}\n")
    (tmp_path / "register").write_text("")
    monkeypatch.setattr(qemu_user, "REGISTRY", tmp_path)
    monkeypatch.setattr(qemu_user, "CONFIGURATION", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(qemu_user, "runs", lambda arch: RULE in (tmp_path / "register").read_text())
    return tmp_path


def test_a_handler_that_is_missing_is_registered_as_its_package_says(machine: Path) -> None:
    qemu_user.ensure("arm64")
    assert (machine / "register").read_text() == RULE


def test_without_its_package_the_mend_is_named(machine: Path) -> None:
    with pytest.raises(LabError, match=r"cannot run programs of armhf; .*qemu-user-static"):
        qemu_user.ensure("armhf")


def test_a_machine_that_runs_them_is_left_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_user, "runs", lambda arch: True)
    qemu_user.ensure("arm64")
    assert (machine / "register").read_text() == ""


def test_a_kernel_that_refuses_the_rule_is_quoted(machine: Path) -> None:
    (machine / "register").unlink()
    (machine / "register").mkdir()
    with pytest.raises(LabError, match="refuses qemu-user's handler: Is a directory"):
        qemu_user._register("arm64")


def test_a_machine_without_arch_test_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(LabError, match="arch-test is missing"):
        qemu_user.runs("arm64")
