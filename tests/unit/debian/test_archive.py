"""What the archive has of a kernel, and whose word on it counts."""

import subprocess
from pathlib import Path

import pytest
from debian.deb822 import Packages
from small_inventory import inventory, source_kernel

from kmodlab.debian import archive
from kmodlab.debian.archive import Resolved, UnreachableError, sources
from kmodlab.ground.errors import LabError
from kmodlab.plan.kernels import Kernel, load_inventory

__all__ = ["inventory"]


def test_every_source_is_bound_to_debians_keyring(inventory: dict[str, Kernel]) -> None:
    lines = sources(inventory["6.1-x86_64"], "http://main", "http://security")
    assert all(f"[signed-by={archive.KEYRING}]" in line for line in lines)
    assert [line.split()[2:4] for line in lines] == [["http://main", "bookworm"], ["http://security", "bookworm-security"]]


def test_a_suite_that_moved_is_taken_from_its_own_mirror(inventory: dict[str, Kernel]) -> None:
    moved = inventory["6.1-x86_64"].model_copy(update={"kernel_mirror": "http://archive"})
    assert all("http://archive" in line for line in sources(moved, "http://main", "http://security"))


def test_only_an_archived_suite_may_have_expired(inventory: dict[str, Kernel]) -> None:
    archived = inventory["6.1-x86_64"].model_copy(update={"kernel_archived": True})
    assert all("check-valid-until=no" in line for line in sources(archived, "http://main", "http://security"))
    assert all("signed-by=" in line for line in sources(archived, "http://main", "http://security"))
    assert not any("valid" in line for line in sources(inventory["6.1-x86_64"], "http://main", "http://security"))


def test_the_environment_chooses_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODLAB_MIRROR", "http://mine/debian/")
    monkeypatch.setattr(archive, "_apt_mirror", lambda label: None)
    assert archive.mirrors() == ("http://mine/debian", "http://mine/debian-security")


def test_a_kernel_of_the_labs_own_has_the_version_of_its_source_and_configuration(tmp_path: Path) -> None:
    kernel = source_kernel(tmp_path, "kernel_config: debug.config")
    resolved = archive._newest_source(kernel, [Packages({"Version": "6.12.118-1"}), Packages({"Version": "6.12.107-1"})], ())
    assert resolved.release == "6.12.118-debug"
    assert resolved.version.startswith("6.12.118-1+kmodlab") and len(resolved.version) == len("6.12.118-1+kmodlab") + 8
    assert resolved.source_package == "linux-source-6.12=6.12.118-1"


def test_a_source_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"6\.12-debug-x86_64.*kernel_source and kernel_config belong together"):
        source_kernel(tmp_path, "vm_memory: 1")


def test_a_source_that_the_archive_does_not_have_is_named(tmp_path: Path) -> None:
    kernel = source_kernel(tmp_path, "kernel_config: debug.config")
    with pytest.raises(LabError, match=r"no linux-source-6\.12 6\.12\.\* in trixie; mend its entry"):
        archive._newest_source(kernel, [], ())


DEPENDS = {
    "linux-image-amd64": "linux-base-amd64 (= 7.3.4-1), linux-image-7.3-amd64 (= 7.3.4-1), linux-modules-amd64 (= 7.3.4-1)",
    "linux-headers-7.3-amd64": "linux-headers-7.3-common (= 7.3.4-1), linux-kbuild-7.3 (>= 7.3.4-1)",
    "linux-image-7.3-amd64": "dracut | tool, linux-binary-7.3-amd64 (= 7.3.4-1),\n linux-modules-7.3-amd64 (= 7.3.4-1)",
    "linux-binary-7.3-amd64": "linux-base-7.3-amd64 (= 7.3.4-1) | linux-old (= 7.3.3-1)",
    "linux-modules-7.3-amd64": "kmod, linux-base-7.3-amd64 (= 7.3.4-1)",
    "linux-base-7.3-amd64": "",
}
SHOWN = """\
Package: {name}
Version: 7.4.1-1
Depends: another-newer (= 7.4.1-1)
Description: not yet
 Depends: nothing (= 7.3.4-1)

Package: {name}
Version: 7.3.4-1
Depends: {depends}

"""
"""As `apt-cache show` prints it: a field may go on in the next line, and a description may look like one."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """An archive with a kernel of several packages, whose lists are too old at first: what apt is asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shown = {name: SHOWN.format(name=name, depends=depends) for name, depends in DEPENDS.items()}
    asked: list[str] = []

    def run(apt: object, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        if command[1] == "show":
            return subprocess.CompletedProcess(command, 0, shown.get(command[-1], ""), "")
        asked.append(" ".join(command))
        old = sum("download" in each for each in asked) == 1
        return subprocess.CompletedProcess(command, 100 if old and "download" in command else 0, "", "E: 404  Not Found")

    monkeypatch.setattr(archive._Apt, "_run", run)
    monkeypatch.setattr(archive, "KEYRING", tmp_path)
    return asked


def test_a_kernel_is_its_image_and_what_that_needs_of_the_same_version(asked: list[str], tmp_path: Path) -> None:
    resolved = archive.Resolved(kernel=load_inventory()["7.3-x86_64"], release="7.3-amd64", version="7.3.4-1", sources=())
    archive.download_kernel(resolved, tmp_path / "debs")
    parts = ("image", "binary", "modules", "base")
    assert asked[-1] == "apt-get download -q " + " ".join(f"linux-{part}-7.3-amd64=7.3.4-1" for part in parts)
    assert [each.split()[1] for each in asked] == ["download", "update", "download"], "old lists are fetched again, once"


def test_the_newest_version_of_the_line_is_found_with_its_headers(asked: list[str]) -> None:
    kernel = load_inventory()["7.3-x86_64"]
    found = archive._ask_archive(kernel, ())
    assert (found.release, found.version) == ("7.3-amd64", "7.3.4-1")
    with pytest.raises(LabError, match=r"no linux-image-other 7\.3\.\* with its headers"):
        archive._ask_archive(kernel.model_copy(update={"kernel_package": "other"}), ())


def test_an_archive_that_is_not_reached_is_told_from_a_kernel_that_has_left_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = load_inventory()["6.12-x86_64"]
    before = Resolved(kernel=kernel, release="6.12.1", version="6.12.1-1", sources=("deb x",))
    answers: list[Resolved | LabError] = [before, UnreachableError("no network"), LabError("kernel 6.12-x86_64: no such package")]

    def ask(*_: object) -> Resolved:
        answer = answers.pop(0)
        if isinstance(answer, LabError):
            raise answer
        return answer

    monkeypatch.setattr(archive, "_ask_archive", ask)
    first = archive._resolve(kernel, ("deb x",), True)
    assert first.asked and first == before.model_copy(update={"asked": first.asked})
    assert archive._resolve(kernel, ("deb x",), True) == first.model_copy(update={"stale": True})
    with pytest.raises(LabError, match=r"no such package \(it had 6.12.1-1 when it was asked before\)"):
        archive._resolve(kernel, ("deb x",), True)
