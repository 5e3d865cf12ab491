"""Modules are installed as the kernel packs its own, and only where that changes anything."""

from __future__ import annotations

import lzma
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_module import answer_of

MODULE = b"\x7fELF" + bytes(range(256)) * 800 + b"~Module signature appended~\n"


@pytest.fixture
def ko(tmp_path: Path) -> Path:
    path = tmp_path / "built" / "one.ko"
    path.parent.mkdir()
    path.write_bytes(MODULE)
    (tmp_path / "installed").mkdir()
    return path


def install(ko: Path, compression: str, *, check: bool = False, path: str | None = None) -> dict[str, Any]:
    arguments = {"files": [str(ko)], "dest": str(installed(ko)), "compression": compression, "_ansible_check_mode": check}
    return answer_of("install_modules", arguments, PATH=path or os.environ["PATH"])


def installed(ko: Path) -> Path:
    return ko.parents[1] / "installed"


def unpacked(path: Path) -> bytes:
    command = {".ko": "cat", ".gz": "zcat", ".xz": "xzcat", ".zst": "zstdcat"}[path.suffix]
    return subprocess.run([command, str(path)], capture_output=True, check=True).stdout


@pytest.mark.parametrize(("compression", "suffix"), [("none", ""), ("gz", ".gz"), ("xz", ".xz"), ("zst", ".zst")])
def test_a_module_is_packed_once_and_holds_what_was_signed(ko: Path, compression: str, suffix: str) -> None:
    target = installed(ko) / f"one.ko{suffix}"
    first, second = install(ko, compression), install(ko, compression)
    assert (first["changed"], first["installed"]) == (True, [str(target)])
    assert not second["changed"]
    assert unpacked(target) == MODULE
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in installed(ko).iterdir()] == [target.name]


def test_another_packing_replaces_the_file(ko: Path) -> None:
    install(ko, "none")
    assert install(ko, "xz")["changed"]
    assert [path.name for path in installed(ko).iterdir()] == ["one.ko.xz"]


@pytest.mark.parametrize("broken", [b"", b"garbage", lzma.compress(MODULE)[:-9]])
def test_what_is_damaged_or_older_is_written_anew(ko: Path, broken: bytes) -> None:
    (installed(ko) / "one.ko.xz").write_bytes(broken)
    assert install(ko, "xz")["changed"]
    assert unpacked(installed(ko) / "one.ko.xz") == MODULE


def test_check_mode_changes_nothing(ko: Path) -> None:
    assert install(ko, "xz", check=True)["changed"]
    assert list(installed(ko).iterdir()) == []


def test_what_the_kernel_would_not_unpack_is_not_made(ko: Path) -> None:
    install(ko, "xz")
    assert (installed(ko) / "one.ko.xz").read_bytes()[7] == lzma.CHECK_CRC32


def test_a_compressed_module_is_refused_because_it_cannot_have_been_signed_after(ko: Path) -> None:
    ko.write_bytes(lzma.compress(MODULE))
    said = install(ko, "xz")
    assert said["failed"]
    assert "one.ko is no module, or one that is compressed already" in said["msg"]


def test_a_machine_without_zstd_is_told_what_to_install(ko: Path, tmp_path: Path) -> None:
    said = install(ko, "zst", path=str(tmp_path))
    assert said["failed"]
    assert "install the package zstd" in said["msg"]
    assert list(installed(ko).iterdir()) == []
