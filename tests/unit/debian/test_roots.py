"""A boot image out of a userland and a kernel's packages, and what it becomes for a board."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kmodlab.debian import archive, roots, userland
from kmodlab.debian.archive import Resolved
from kmodlab.debian.roots import BootImage, image_path
from kmodlab.ground.errors import LabError
from kmodlab.plan.kernels import Kernel, load_inventory

RELEASE = "6.12-armmp"


def board(**news: object) -> Resolved:
    usual: dict[str, object] = {
        "vm_root_modules": ("card",),
        "vm_net_modules": ("net",),
        "vm_more_modules": ("keys",),
        "vm_dtb": "board.dtb",
        "vm_root_size": 8,
    }
    kernel: Kernel = load_inventory()["6.12-armhf"].model_copy(update={"vm_root": "/dev/mmcblk1", **usual, **news})
    return Resolved(kernel=kernel, release=RELEASE, version="1", sources=())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image's folder as far as it matters: a root with a shell, a kernel, three drivers and a device tree."""
    root = tmp_path / "image/root"
    modules = root / "lib/modules" / RELEASE
    for path in (root / "bin", root / "boot", root / "etc/ssh", modules, root / f"usr/lib/linux-image-{RELEASE}/nxp"):
        path.mkdir(parents=True)
    (root / "bin/busybox").write_text("busybox")
    (root / "boot" / f"vmlinuz-{RELEASE}").write_text("kernel")
    (root / "etc/ssh/ssh_host_ed25519_key.pub").write_text("key")
    (root / f"usr/lib/linux-image-{RELEASE}/nxp/board.dtb").write_text("tree")
    (modules / "modules.builtin").write_text("kernel/erofs.ko\nkernel/overlay.ko\n")
    (modules / "modules.dep").write_text("card.ko: bus.ko\nbus.ko:\nnet.ko:\nkeys.ko:\n")
    for name in ("card", "bus", "net", "keys"):
        (modules / f"{name}.ko").write_text(name)
    return tmp_path / "image"


def test_a_board_gets_its_initramfs_device_tree_and_a_card_of_the_size_it_takes(folder: Path) -> None:
    roots._pack(board(), folder)
    image = BootImage(folder)
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=image.initrd.read_bytes(), capture_output=True, check=True)
    assert {f"modules/{name}.ko" for name in ("bus", "card", "net", "keys")} <= set(listed.stdout.decode().split())
    assert b"mount -t erofs -o ro /dev/mmcblk1 /lower" in image.initrd.read_bytes()
    assert b"bus.ko\ncard.ko\nnet.ko\nkeys.ko\n" in image.initrd.read_bytes(), "the order in which they are loaded"
    assert image.dtb.read_text() == "tree"
    assert image.root.stat().st_size == 8 << 20
    assert image.kernel.read_text() == "kernel" and image.host_key == "key"
    assert {path.name for path in folder.iterdir()} == {"vmlinuz", "host_key.pub", "initrd", "root.erofs", "board.dtb"}


@pytest.mark.parametrize(
    ("news", "reason"),
    [({"vm_dtb": "other.dtb"}, "no device tree other.dtb"), ({"vm_root_modules": ("nocard",)}, "has no module nocard")],
)
def test_what_the_packages_do_not_hold_is_named(folder: Path, news: dict[str, object], reason: str) -> None:
    with pytest.raises(LabError, match=reason):
        roots._pack(board(**news), folder)


def package(folder: Path, name: str, arch: str, files: dict[str, str]) -> Path:
    """A Debian package with some files."""
    tree = folder / f"{name}-{arch}"
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: {arch}\nMaintainer: kmodlab <root@localhost>\nDescription: test\n"
    )
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(folder)], check=True, capture_output=True)
    return folder / f"{name}_1_{arch}.deb"


@pytest.fixture
def native(tmp_path: Path) -> Path:
    """A userland whose /bin is a link, with a package of this architecture, one of all, and what their scripts left behind."""
    root = tmp_path / "native"
    for path in (root / "usr/bin", root / "etc", root / "var/lib/dpkg/info"):
        path.mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "var/run").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_text("not the root's")
    for name, text in {"usr/bin/sh": "native", "usr/bin/gone": "native", "usr/script": "all", "usr/script.pyc": "made"}.items():
        (root / name).write_text(text)
    for name in ("etc/passwd", "etc/ld.so.cache"):
        (root / name).write_text("made")
    stanza = "Package: {}\nStatus: install ok installed\nVersion: 1\nArchitecture: {}\nMaintainer: kmodlab\nDescription: test\n\n"
    (root / "var/lib/dpkg/status").write_text(stanza.format("shell", "amd64") + stanza.format("script", "all"))
    (root / "var/lib/dpkg/info/shell.list").write_text("/.\n/bin\n/bin/sh\n/bin/gone\n/var/run/precious\n")
    (root / "var/lib/dpkg/info/script.list").write_text("/.\n/usr\n/usr/script\n")
    return root


def test_a_userland_of_another_architecture_keeps_what_scripts_made_and_changes_the_packages(
    native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(resolved: Resolved, packages: list[str], folder: Path, *, arch: str) -> list[Path]:
        assert (packages, arch) == (["shell"], "armhf"), "what is the same everywhere is there already"
        folder.mkdir()
        return [package(folder, "shell", "armhf", {"bin/sh": "foreign", "usr/lib/arm/lib": "foreign"})]

    monkeypatch.setattr(archive, "download", download)
    root = tmp_path / "foreign"
    userland.transplant(native, board(), root)
    read = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
    assert read == {
        "usr/bin/sh": "foreign",
        "usr/lib/arm/lib": "foreign",
        "usr/script": "all",
        "usr/script.pyc": "made",
        "etc/passwd": "made",
    }
    assert (root / "bin").is_symlink(), "a package with /bin/sh makes no folder of the link"
    assert (native / "usr/bin/sh").read_text() == "native" and (native / "usr/bin/gone").exists(), (
        "the copy's changes stay its own"
    )
    assert (tmp_path / "outside/precious").exists(), "a link that leads out of the root is not followed"


def test_what_is_written_in_place_is_not_shared_with_the_copy(native: Path, tmp_path: Path) -> None:
    userland.copy(native, tmp_path / "copy")
    (tmp_path / "copy/etc/passwd").write_text("changed")
    assert (native / "etc/passwd").read_text() == "made"
    assert (tmp_path / "copy/usr/script").samefile(native / "usr/script")


def test_kernels_of_a_release_share_its_userland(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inventory = load_inventory()

    def path(name: str) -> Path:
        resolved = Resolved(kernel=inventory[name], release="6.12", version="1", sources=())
        return image_path(roots._userland(resolved, "boot"), "userland")

    assert path("6.12-x86_64") == path("7.3-x86_64") == path("6.12-rt-x86_64")
    assert len({path(name) for name in ("6.1-x86_64", "6.12-x86_64", "6.12-arm64", "7.2-x86_64")}) == 4


def test_root_is_asked_in_few_words_and_told_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/sudo"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >{tmp_path}/words\nexec /bin/cat >{tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    roots._make_by_sudo(board(), "build")
    # A rule of sudo's names these words: the role nightly_job has one.
    assert (tmp_path / "words").read_text() == f"-n {sys.executable} -I -m kmodlab.debian.roots build\n"

    made: list[tuple[Resolved, str, str]] = []

    def make(resolved: Resolved, kind: str, _target: Path) -> None:
        made.append((resolved, kind, os.environ["XDG_CACHE_HOME"]))

    monkeypatch.setattr(roots, "_make", make)
    monkeypatch.setattr(roots, "_give_back", list)
    monkeypatch.setattr(sys, "argv", ["roots", "build"])
    monkeypatch.setattr(sys, "stdin", io.StringIO((tmp_path / "said").read_text()))
    monkeypatch.setenv("XDG_CACHE_HOME", "/root/.cache")
    roots.main()
    assert made == [(board(), "build", str(tmp_path / "cache"))]
    assert "PYTHONPATH" not in (tmp_path / "said").read_text()
