"""The machine that a kernel's data asks for."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from kmodlab.debian.archive import Resolved
from kmodlab.debian.roots import BootImage, image_key, image_path
from kmodlab.ground.errors import LabError
from kmodlab.ground.nobody import NOBODY
from kmodlab.machine import qemu
from kmodlab.machine.qemu import capped, hold
from kmodlab.machine.runtime import VmState
from kmodlab.machine.vm import Vm, emulated_by
from kmodlab.plan.kernels import Kernel, load_inventory


@pytest.fixture(autouse=True)
def _emulating(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODLAB_ACCEL", "tcg")


def arguments(kernel: str) -> str:
    vm = Vm(load_inventory()[kernel], BootImage(Path("/image")), Path("/run/vm"), Path("/console"))
    return " ".join([*vm._arguments(), *vm._runtime_arguments(7)])


def test_a_plain_machine_has_its_root_and_its_network_on_pci() -> None:
    words = arguments("6.12-x86_64")
    assert "-device virtio-blk-pci,drive=root -device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci" in words
    assert "-serial chardev:console" in words and "-serial null" not in words
    assert "-dtb" not in words and "-net nic" not in words and "root.erofs,format=raw,readonly=on" in words


def test_the_root_is_the_first_disk_also_beside_one_more_and_a_boot_loaders() -> None:
    usual = Vm(load_inventory()["6.12-x86_64"], BootImage(Path("/image")), Path("/run/vm"), Path("/console"))
    disks = [
        word for word in replace(usual, loader=Path("/efi"), disk=Path("/more"))._arguments() if word.startswith("virtio-blk")
    ]
    assert [disk.split(",")[1] for disk in disks] == ["drive=root", "drive=more", "drive=loader"]


def test_a_board_is_data() -> None:
    words = arguments("6.12-sabrelite-armhf")
    assert words.startswith("-machine sabrelite -accel tcg")
    assert "-dtb /image/board.dtb" in words and "-device sd-card,drive=root" in words and "-net nic,netdev=net" in words
    assert "-serial null -serial chardev:console" in words and "console=ttymxc1 " in words
    assert "virtio" not in words and "root.erofs,format=raw,snapshot=on" in words


@pytest.mark.parametrize("kernel", ["6.12-x86_64", "6.12-arm64", "6.12-sabrelite-armhf"])
def test_every_machines_wires_can_be_reached_and_nothing_but_loopback_reaches_it(kernel: str) -> None:
    words = arguments(kernel)
    assert "-qtest unix:qtest,server=on,wait=off -qtest-log /dev/null" in words
    assert "restrict=on,hostfwd=tcp:127.0.0.1:0-:22" in words


def test_a_machine_without_that_qemu_says_which_is_missing() -> None:
    kernel = load_inventory()["6.12-arm64"].model_copy(update={"vm_qemu": "qemu-system-nowhere"})
    with pytest.raises(LabError, match=r"kernel 6.12-arm64: no qemu-system-nowhere on this machine; .*leave the kernel out"):
        emulated_by(kernel)


@pytest.mark.parametrize(
    "news", [{"vm_root": "/dev/sda"}, {"vm_root_modules": ("ahci",)}, {"vm_net_modules": ("e1000",)}, {"vm_dtb": "other.dtb"}]
)
def test_a_board_with_other_drivers_gets_another_image(
    news: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel = load_inventory()["6.12-armhf"]

    def key(of: Kernel) -> str:
        return image_key(Resolved(kernel=of, release="6.12", version="1", sources=()), "boot")

    assert key(kernel) == key(kernel.model_copy(update={"vm_memory": 1024})), "memory is the machine's, not the image's"
    assert key(kernel) != key(kernel.model_copy(update=news))


def test_machines_that_run_the_same_packages_share_their_build_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inventory = load_inventory()

    def path(name: str, kind: Literal["build", "boot"]) -> Path:
        return image_path(Resolved(kernel=inventory[name], release="6.12", version="1", sources=()), kind)

    assert path("6.12-sabrelite-armhf", "build") == path("6.12-armhf", "build")
    assert path("6.12-sabrelite-armhf", "boot") != path("6.12-armhf", "boot")
    assert path("6.1-armhf", "build") != path("6.12-armhf", "build") != path("6.12-arm64", "build")


@pytest.mark.parametrize(("hangs", "tries"), [(0, 1), (1, 2), (2, 2)])
def test_a_boot_that_hangs_is_tried_once_more(hangs: int, tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    vm = Vm(load_inventory()["6.12-x86_64"], BootImage(tmp_path), tmp_path / "vm", tmp_path / "console")
    limits: list[float] = []

    def answers(vm: Vm, limit: float, options: tuple[str, ...]) -> None:
        limits.append(limit)
        if len(limits) <= hangs:
            raise LabError("VM does not answer")

    monkeypatch.setattr(Vm, "_launch", lambda vm, restored: VmState(pid=0, port=0, accel="tcg", restored=restored))
    monkeypatch.setattr(Vm, "_await_ssh", answers)
    monkeypatch.setattr(Vm, "_warm_up", lambda vm: None)
    monkeypatch.setattr(Vm, "_save", lambda vm, snapshot, state: None)
    if hangs < tries:
        assert not vm.start().restored
    else:
        with pytest.raises(LabError, match="does not answer"):
            vm.start()
    assert len(limits) == tries and limits[-1] >= limits[0]


def test_an_emulator_is_held_by_its_own_filter_and_becomes_nobody_where_root_starts_it() -> None:
    words = hold("sh", "6.12", "tcg")  # any program will do
    assert words[-2:] == ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    assert (f"--reuid={NOBODY}" in words) == (os.geteuid() == 0)


def test_a_program_that_writes_a_console_without_end_goes_on_and_the_file_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "CONSOLE_MOST", 1 << 16)
    script = "i=0; while [ $i -lt 300 ]; do head -c 1000 /dev/zero; i=$((i+1)); done; echo goes on >&2"
    with (tmp_path / "console").open("ab") as console:
        answer = subprocess.run([*capped(), "sh", "-c", script], stdout=console, stderr=subprocess.PIPE, text=True, check=False)
    assert answer.stderr.endswith("goes on\n") and (tmp_path / "console").stat().st_size == 1 << 16
