"""A board's image out of the image of another machine that runs the same packages."""

import subprocess
from pathlib import Path

import pytest

from kmodlab.errors import LabError
from kmodlab.images import BootImage, _derive
from kmodlab.kernels import Kernel, Resolved, load_inventory

RELEASE = "6.12-armmp"


@pytest.fixture
def base(tmp_path: Path) -> BootImage:
    """An image as far as it matters: a root with a shell, three drivers and a device tree."""
    root = tmp_path / "root"
    modules = root / "lib/modules" / RELEASE
    for path in (root / "bin", modules, root / f"usr/lib/linux-image-{RELEASE}/nxp"):
        path.mkdir(parents=True)
    (root / "bin/busybox").write_text("busybox")
    (root / f"usr/lib/linux-image-{RELEASE}/nxp/board.dtb").write_text("tree")
    (modules / "modules.builtin").write_text("kernel/erofs.ko\nkernel/overlay.ko\n")
    (modules / "modules.dep").write_text("card.ko: bus.ko\nbus.ko:\nnet.ko:\n")
    for name in ("card", "bus", "net"):
        (modules / f"{name}.ko").write_text(name)
    folder = tmp_path / "base"
    folder.mkdir()
    for name in ("vmlinuz", "config", "host_key.pub", "initrd"):
        (folder / name).write_text(f"the base's {name}")
    subprocess.run(["mkfs.erofs", "--quiet", str(folder / "root.erofs"), str(root)], check=True, capture_output=True)
    return BootImage(folder)


def board(**news: object) -> Resolved:
    usual: dict[str, object] = {
        "vm_root_modules": ("card",),
        "vm_net_modules": ("net",),
        "vm_dtb": "board.dtb",
        "vm_root_size": 8,
    }
    kernel: Kernel = load_inventory()["6.12-armhf"].model_copy(update={"vm_root": "/dev/mmcblk1", **usual, **news})
    return Resolved(kernel=kernel, release=RELEASE, version="1", sources=())


def test_a_board_gets_its_own_initramfs_device_tree_and_size_and_the_same_root(base: BootImage, tmp_path: Path) -> None:
    before = base.root.read_bytes()
    _derive(board(), base, tmp_path / "derived")
    derived = BootImage(tmp_path / "derived")
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=derived.initrd.read_bytes(), capture_output=True, check=True)
    assert {"modules/bus.ko", "modules/card.ko", "modules/net.ko"} <= set(listed.stdout.decode().split())
    assert b"mount -t erofs -o ro /dev/mmcblk1 /lower" in derived.initrd.read_bytes()
    assert b"bus.ko\ncard.ko\nnet.ko\n" in derived.initrd.read_bytes(), "the order in which they are loaded"
    assert derived.dtb.read_text() == "tree"
    assert derived.root.stat().st_size == 8 << 20 and derived.root.read_bytes().startswith(before)
    assert base.root.read_bytes() == before, "the base's own root must stay as it is"
    assert derived.kernel.samefile(base.kernel) and not derived.initrd.samefile(base.initrd)
    assert {path.name for path in derived.folder.iterdir()} == {
        *("vmlinuz", "config", "host_key.pub", "initrd", "root.erofs", "board.dtb")
    }


@pytest.mark.parametrize(
    ("news", "reason"),
    [({"vm_dtb": "other.dtb"}, "no device tree other.dtb"), ({"vm_root_modules": ("nocard",)}, "has no module nocard")],
)
def test_what_the_packages_do_not_hold_is_named(base: BootImage, tmp_path: Path, news: dict[str, object], reason: str) -> None:
    with pytest.raises(LabError, match=reason):
        _derive(board(**news), base, tmp_path / "derived")
    assert not (tmp_path / "derived").exists()
