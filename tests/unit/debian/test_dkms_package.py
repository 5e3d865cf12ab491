"""A package of sources, made as Debian makes them."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from debian.deb822 import Packages

from kmodlab.debian import archive, dkms_package, roots
from kmodlab.debian.archive import Resolved
from kmodlab.debian.roots import image_path
from kmodlab.ground.errors import LabError
from kmodlab.plan.kernels import load_inventory

RESOLVED = Resolved(kernel=load_inventory()["6.12-x86_64"], release="1", version="1", sources=())


@pytest.fixture
def archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are made of; the archive has nothing else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "made"
    (made / "DEBIAN").mkdir(parents=True)
    (made / "DEBIAN/control").write_text(
        "Package: toy-dkms\nVersion: 1.0-1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    )

    def download(resolved: Resolved, packages: Iterable[str], folder: Path) -> list[Path]:
        if list(packages) != ["toy-dkms"]:
            raise LabError("packages cannot be downloaded: E: Unable to locate package")
        subprocess.run(["dpkg-deb", "--build", str(made), str(folder)], check=True, capture_output=True)
        return sorted(folder.glob("*.deb"))

    monkeypatch.setattr(archive, "download", download)
    return made


def test_a_packages_sources_are_a_folder(archived: Path) -> None:
    (archived / "usr/src/toy-1.0").mkdir(parents=True)
    (archived / "usr/src/toy-1.0/dkms.conf").write_text("")
    folder = dkms_package.sources(RESOLVED, "toy-dkms")
    assert folder.name == "toy-1.0" and (folder / "dkms.conf").is_file()
    assert dkms_package.sources(RESOLVED, "toy-dkms") == folder


def test_a_package_that_is_here_is_not_downloaded_again(archived: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (archived / "usr/src/toy-1.0").mkdir(parents=True)
    folder = dkms_package.sources(RESOLVED, "toy-dkms")
    about = [Packages({"Version": version, "Filename": f"pool/toy-dkms_{version}_all.deb"}) for version in ("2.0-1", "1.0-1")]
    monkeypatch.setattr(archive._Apt, "show", lambda self, name: about)
    monkeypatch.setattr(archive, "download", lambda *_, **__: pytest.fail("it is downloaded"))
    assert dkms_package.sources(RESOLVED, "toy-dkms=1.0-1") == folder
    with pytest.raises(pytest.fail.Exception):
        dkms_package.sources(RESOLVED, "toy-dkms")


def test_a_package_without_sources_and_none_at_all(archived: Path) -> None:
    with pytest.raises(LabError, match="the package toy-dkms has no sources in /usr/src"):
        dkms_package.sources(RESOLVED, "toy-dkms")
    with pytest.raises(LabError, match="MODULES: gone-dkms is no folder, and no package of trixie"):
        dkms_package.sources(RESOLVED, "gone-dkms")


def test_what_a_package_depends_on_is_in_a_build_root_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(roots, "ssh_key", lambda: tmp_path / "key")
    (tmp_path / "key.pub").write_text("")
    about = Packages({"Package": "toy-dkms", "Depends": "dkms (>= 3), libtoy-dev | libtoy2-dev, pkgconf"})
    monkeypatch.setattr(archive._Apt, "show", lambda self, name: [about] if name == "toy-dkms" else [])
    found = dkms_package.with_tools(RESOLVED, ["toy-dkms=1.0-1", "gone-dkms"])
    assert found.tools == ("dkms", "libtoy-dev", "pkgconf")
    assert image_path(found, "build") != image_path(RESOLVED, "build") and image_path(found, "boot") == image_path(
        RESOLVED, "boot"
    )
    foreign = RESOLVED.model_copy(update={"kernel": load_inventory()["6.12-arm64"]})
    assert dkms_package.with_tools(foreign, ["toy-dkms"]) == foreign
