"""A kernel of the user's own is looked at before anything is made of it: one line for each thing that can be wrong."""

import os
import subprocess
from pathlib import Path

import pytest

from kmodlab.debian import own_kernel as own_file
from kmodlab.debian.own_kernel import ANYHOW, BUILT_IN, OF_ARCH, named_paths, own_kernel
from kmodlab.debian.roots import image_path
from kmodlab.debian.source_kernel import packages_path
from kmodlab.ground.errors import LabError
from kmodlab.plan.kernels import load_inventory

RELEASE = "6.12.9-mine"
GCC = "gcc-14 (Debian 14.2.0-19) 14.2.0"
GOOD = {**dict.fromkeys((*BUILT_IN, *OF_ARCH["x86_64"]), "y"), **dict.fromkeys(ANYHOW, "m")}


def config(compiler: str = GCC, **changed: str) -> str:
    lines = [f"CONFIG_{name}={value}" for name, value in {**GOOD, **changed}.items() if value]
    return "\n".join([f'CONFIG_CC_VERSION_TEXT="{compiler}"', *lines]) + "\n"


def package(folder: Path, name: str, version: str = "1", arch: str = "amd64", files: dict[str, str] | None = None) -> None:
    work = folder / "work" / name
    (work / "DEBIAN").mkdir(parents=True)
    about = f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: me <me@localhost>\nDescription: a kernel\n"
    (work / "DEBIAN/control").write_text(about)
    for path, text in (files or {}).items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(text)
    target = folder / f"{name}_{version}_{arch}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", work, target], check=True, capture_output=True)


def pair(folder: Path, text: str = "", *, arch: str = "amd64", headers: str = RELEASE, version: str = "1") -> Path:
    folder.mkdir(exist_ok=True)
    files = {f"boot/config-{RELEASE}": text or config(), f"lib/modules/{RELEASE}/modules.dep": ""}
    package(folder, f"linux-image-{RELEASE}", arch=arch, files=files)
    package(folder, f"linux-headers-{headers}", version, arch)
    return folder


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(own_file, "mirrors", lambda: ("mirror:/debian", "mirror:/security"))


def test_a_pair_of_packages_is_a_kernel_with_the_machine_of_its_architecture(tmp_path: Path) -> None:
    folder = pair(tmp_path / "mine")
    resolved, like = own_kernel(folder, load_inventory()), load_inventory()["6.12-x86_64"]
    kernel = resolved.kernel
    assert (resolved.release, resolved.version, kernel.id, kernel.line) == (RELEASE, "1", f"own-{RELEASE}", "6.12")
    assert (kernel.distribution, kernel.vm_machine, kernel.vm_memory) == ("trixie", like.vm_machine, like.vm_memory)
    assert kernel.kernel_own == str(folder) and "trixie" in resolved.sources[0]
    listed = (packages_path(resolved) / "Packages").read_text()
    assert listed.count("Package: linux-") == listed.count("SHA256: ") == 2


def test_another_build_of_the_same_version_is_another_kernel(tmp_path: Path) -> None:
    one = own_kernel(pair(tmp_path / "one"), load_inventory())
    two = own_kernel(pair(tmp_path / "two", config(DEBUG_LIST="y")), load_inventory())
    assert one.version == two.version and one.release == two.release
    assert packages_path(one) != packages_path(two)


@pytest.mark.parametrize(("compiler", "suite"), [("gcc-12 (Debian 12.2.0-14) 12.2.0", "bookworm"), (GCC, "trixie")])
def test_the_compiler_decides_the_release(tmp_path: Path, compiler: str, suite: str) -> None:
    assert own_kernel(pair(tmp_path / "mine", config(compiler)), load_inventory()).kernel.distribution == suite


def refused(folder: Path) -> str:
    with pytest.raises(LabError) as problem:
        own_kernel(folder, load_inventory())
    assert "\n" not in str(problem.value) and str(folder) in str(problem.value)
    return str(problem.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (config(MODULE_UNLOAD=""), "without what the lab needs; add to its .config: CONFIG_MODULE_UNLOAD=y"),
        (config(OVERLAY_FS="", VIRTIO_BLK=""), "add to its .config: CONFIG_OVERLAY_FS=m CONFIG_VIRTIO_BLK=m"),
        (config(MODULES="m"), "CONFIG_MODULES=y"),
        (config(SERIAL_8250_CONSOLE=""), "CONFIG_SERIAL_8250_CONSOLE=y"),
        (config("gcc (GCC) 9.3.0"), r"was built with gcc (GCC) 9.3.0; the lab has gcc 10 (bullseye)"),
        (config("clang version 19.1.7"), "was built with clang version 19.1.7"),
    ],
)
def test_a_configuration_says_what_is_wrong_with_it_and_what_mends_it(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(pair(tmp_path / "mine", text))


def test_packages_that_are_no_pair_are_told(tmp_path: Path) -> None:
    assert "but its headers are linux-headers-6.12.8-mine 1" in refused(pair(tmp_path / "other", headers="6.12.8-mine"))
    assert "6.12.9-mine 1, but its headers are linux-headers-6.12.9-mine 2" in refused(pair(tmp_path / "newer", version="2"))
    assert f"{RELEASE} is for riscv64" in refused(pair(tmp_path / "riscv", arch="riscv64"))
    folder = pair(tmp_path / "three")
    package(folder, "linux-image-6.13.0")
    assert "has 2 packages linux-image-*; leave one of them there" in refused(folder)


def test_what_is_no_kernel_at_all_is_told_how_to_become_one(tmp_path: Path) -> None:
    tree = tmp_path / "linux"
    tree.mkdir()
    assert "without a package linux-image-*.deb" in refused(tree)
    (tree / "bzImage").touch()
    assert "is no folder" in refused(tree / "bzImage")
    assert f"`apt-get download linux-image-{RELEASE} linux-headers-{RELEASE}`" in refused(tree / f"vmlinuz-{RELEASE}")
    empty = tmp_path / "empty"
    empty.mkdir()
    for kind in ("image", "headers"):
        package(empty, f"linux-{kind}-{RELEASE}")
    assert "holds no modules; name the package that the kernel itself is in" in refused(empty)
    damaged = pair(tmp_path / "damaged")
    image = next(damaged.glob("linux-image-*"))
    image.write_bytes(image.read_bytes()[:100])
    assert "is no whole package" in refused(damaged)


def tree_of(folder: Path, text: str = "", release: str = RELEASE) -> Path:
    """As much of a kernel's tree as is looked at."""
    tree = folder / "linux"
    (tree / "include/config").mkdir(parents=True)
    (tree / "arch/x86/boot").mkdir(parents=True)
    for name in ("Kconfig", "Makefile", "arch/x86/boot/bzImage"):
        (tree / name).touch()
    (tree / ".config").write_text(text or f"CONFIG_X86_64=y\n{config()}")
    if release:
        (tree / "include/config/kernel.release").write_text(f"{release}\n")
    return tree


def test_a_built_tree_is_the_kernel_of_the_packages_beside_it(tmp_path: Path) -> None:
    tree = tree_of(tmp_path)
    pair(tmp_path)
    package(tmp_path, "linux-image-6.12.8-mine")
    for named in (tree, tree / "arch/x86/boot/bzImage"):
        assert own_kernel(named, load_inventory()).release == RELEASE
    assert own_kernel(pair(tree / "kept"), load_inventory()).release == RELEASE


@pytest.mark.parametrize(
    ("text", "release", "said"),
    [
        (
            f"CONFIG_X86_64=y\n{config(VIRTIO_NET='')}",
            RELEASE,
            "6.12.9-mine is without what the lab needs; add to its .config: CONFIG_VIRTIO_NET=m",
        ),
        (
            f"CONFIG_X86_64=y\n{config(MODULE_UNLOAD='')}",
            "",
            "its configuration is without what the lab needs; add to its .config:",
        ),
        (
            f"CONFIG_X86_64=y\n{config('clang version 19.1.7')}",
            RELEASE,
            "was built with clang version 19.1.7; the lab has gcc 10",
        ),
        (f"CONFIG_RISCV=y\n{config()}", RELEASE, "is for an unknown machine; the lab has machines for amd64"),
        ("", "", "is configured rightly, and not built; `make bindeb-pkg` there"),
        ("", RELEASE, f"there are no packages of {RELEASE} beside it; `make bindeb-pkg`"),
    ],
)
def test_a_tree_is_told_what_is_wrong_with_it_before_it_is_built(tmp_path: Path, text: str, release: str, said: str) -> None:
    with pytest.raises(LabError) as problem:
        own_kernel(tree_of(tmp_path, text, release), load_inventory())
    assert said in str(problem.value) and "\n" not in str(problem.value)


def test_a_tree_that_went_on_since_its_packages_is_told(tmp_path: Path) -> None:
    tree = tree_of(tmp_path)
    (tree / ".config").rename(tmp_path / "kept")
    assert "is a kernel's source tree without .config; configure it" in refused(tree)
    (tmp_path / "kept").rename(tree / ".config")
    pair(tmp_path)
    headers = next(tmp_path.glob("linux-headers-*.deb"))
    headers.rename(tmp_path / "kept")
    assert "is beside it, and no linux-headers-6.12.9-mine_1_amd64.deb" in refused(tree)
    (tmp_path / "kept").rename(headers)
    (tree / "vmlinux").touch()
    os.utime(tree / "vmlinux", (2e9, 2e9))
    assert "its vmlinux is newer than linux-image-6.12.9-mine_1_amd64.deb; `make bindeb-pkg` again" in refused(tree)


def test_paths_are_told_from_the_inventorys_kernels(tmp_path: Path) -> None:
    blank = tmp_path / "my kernel"
    blank.mkdir()
    assert named_paths(str(blank)) == ([blank], "")
    assert named_paths(f"6.1 {tmp_path} 6.12-arm64") == ([tmp_path], "6.1 6.12-arm64")
    assert named_paths("6.1") == ([], "6.1")


def test_its_images_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = own_kernel(pair(tmp_path / "mine"), load_inventory())
    assert image_path(resolved, "build").name.startswith(f"own-{RELEASE}-build-")
