"""A machine on which something is missing gets one line that installs all of it."""

from pathlib import Path

import pytest

from kmodlab.ground import packages
from kmodlab.ground.errors import LabError


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages, "ALWAYS", {"zstd": "no-such-zstd", "keys": str(tmp_path / "gone"), "here": str(tmp_path / "*")})
    monkeypatch.setattr(packages, "SOMETIMES", {"qemu-system-arm": "no-such-qemu"})
    (tmp_path / "there").touch()
    with pytest.raises(
        LabError, match=r"^no-such-zstd, gone not found; run `sudo apt-get install .* zstd keys qemu-system-arm`$"
    ):
        packages.need_packages()


def test_what_only_some_kernels_need_stops_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "ALWAYS", {"coreutils": "true"})
    monkeypatch.setattr(packages, "SOMETIMES", {"qemu-system-arm": "no-such-qemu"})
    packages.need_packages()
