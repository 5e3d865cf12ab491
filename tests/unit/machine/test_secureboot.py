"""A machine with Secure Boot trusts exactly the keys that it was given, and says in one line why it cannot be had."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from own_key import certificate

from kmodlab.debian.roots import BootImage
from kmodlab.ground.errors import LabError
from kmodlab.machine import firmware, secureboot
from kmodlab.machine.firmware import Build, Firmware
from kmodlab.machine.secureboot import PLATFORMS, secure_firmware, secure_kernel, signed_image
from kmodlab.plan.kernels import Kernel, load_inventory
from kmodlab.sign import keys
from kmodlab.sign.keys import SigningKey

BUILD = PLATFORMS["x86_64"].build
BUILDS = [
    pytest.param(
        each.build, id=arch, marks=pytest.mark.skipif(not each.build.code.exists(), reason=f"install {each.build.package}")
    )
    for arch, each in PLATFORMS.items()
]
needs_ovmf = pytest.mark.skipif(not BUILD.code.exists(), reason=f"{BUILD.code} is missing: install ovmf")


@pytest.fixture
def kernel() -> Kernel:
    return load_inventory()["6.12-x86_64"]


def variables(made: Firmware, folder: Path) -> dict[str, str]:
    """What the variable store of a new VM says, by variable."""
    made.arguments(folder)
    command = [str(firmware.TOOL), "--input", str(folder / firmware.VARIABLES), "--print", "--verbose", "--hashes"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parts = said.split("name=")[1:]
    return {part.split()[0]: part for part in parts}


def subject(key: SigningKey) -> str:
    return certificate(key.certificate).subject.rfc4514_string()


@needs_ovmf
def test_the_firmware_trusts_what_it_was_given_and_forbids_the_rest(kernel: Kernel, tmp_path: Path) -> None:
    own, other, revoked = keys.lab_key(), keys.lab_key(tmp_path / "2", "rsa-2048"), keys.lab_key(tmp_path / "3", "rsa-2048")
    made = secure_firmware(kernel, [own.certificate, other.certificate], ["ab" * 32, revoked.certificate])
    found = variables(made, tmp_path)
    assert all(subject(key) in found["db"] for key in (own, other, keys.kernel_key()))
    assert subject(revoked) not in found["db"]
    assert "ab" * 32 in found["dbx"]
    assert subject(revoked) in found["dbx"]
    assert subject(keys.kernel_key()) in found["PK"]
    assert "SecureBootEnable" in found


@pytest.mark.parametrize("build", BUILDS)
def test_what_a_template_trusts_is_not_trusted(build: Build, tmp_path: Path) -> None:
    own = keys.kernel_key()
    found = variables(Firmware(build, db=(own.certificate,), platform=own.certificate), tmp_path)
    for name in ("PK", "KEK", "db"):
        assert found[name].count("subject") == 1
        assert subject(own) in found[name]


@needs_ovmf
def test_a_machine_as_people_have_it_trusts_shims_maker(tmp_path: Path) -> None:
    found = variables(Firmware(BUILD, vendors=("ms-uefi",), platform=keys.kernel_key().certificate), tmp_path)
    assert "Microsoft" in found["db"]
    assert "kmodlab" not in found["db"]


@needs_ovmf
def test_ordinary_firmware_knows_the_labs_key_and_refuses_nothing(kernel: Kernel, tmp_path: Path) -> None:
    made = firmware.ordinary(kernel, keys.lab_key().certificate)
    assert made
    found = variables(made, tmp_path)
    assert subject(keys.lab_key()) in found["db"]
    assert "PK" not in found
    assert firmware.ordinary(kernel.model_copy(update={"vm_firmware": "none"}), None) is None


@needs_ovmf
def test_variables_of_an_earlier_boot_are_kept(tmp_path: Path) -> None:
    made = Firmware(BUILD)
    (tmp_path / "snapshot").write_text("of a snapshot")
    made.arguments(tmp_path, tmp_path / "snapshot")
    assert (tmp_path / firmware.VARIABLES).read_text() == "of a snapshot"


def test_whatever_the_firmware_starts_with_decides_which_snapshot_is_taken(kernel: Kernel, tmp_path: Path) -> None:
    one, two = keys.lab_key(tmp_path / "1", "rsa-2048").certificate, keys.lab_key(tmp_path / "2", "rsa-2048").certificate
    made = [secure_firmware(kernel, *each) for each in ([[one]], [[two]], [[one, two]], [[one], [two]], [[one], ["ab" * 32]])]
    made += [replace(made[0], platform=None), replace(made[0], vendors=("ms-uefi",))]
    assert len({each.key for each in made}) == len(made)


@needs_ovmf
def test_a_broken_certificate_is_said_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(LabError, match="virt-fw-vars cannot enrol: ") as problem:
        Firmware(BUILD, db=(broken,)).arguments(tmp_path)
    assert "\n" not in str(problem.value)


@needs_ovmf
def test_a_missing_tool_is_named_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "TOOL", tmp_path / "virt-fw-vars")
    with pytest.raises(LabError, match="virt-fw-vars is missing: it comes with"):
        Firmware(BUILD, vendors=("ms-uefi",)).arguments(tmp_path)


def test_a_kernel_of_an_architecture_without_it_is_named(kernel: Kernel) -> None:
    board = kernel.model_copy(update={"id": "6.12-armhf", "kernel_arch": "armhf"})
    with pytest.raises(LabError, match=r"6\.12-armhf: Secure Boot is for .*x86_64.* kernels only; leave it out"):
        secure_kernel(board)


def test_missing_firmware_is_named_with_its_package(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = Build("ovmf", Path("/nowhere/OVMF_CODE.fd"), BUILD.template)
    monkeypatch.setitem(secureboot.PLATFORMS, "x86_64", replace(PLATFORMS["x86_64"], build=gone))
    with pytest.raises(LabError, match=r"/nowhere/OVMF_CODE\.fd is missing: install the package ovmf"):
        secure_kernel(kernel)
    folder = tmp_path / "machine"
    folder.mkdir()
    with pytest.raises(LabError, match="install the package ovmf"):
        Firmware(gone).arguments(folder)
    assert list(folder.iterdir()) == []


def test_a_kernel_that_cannot_be_signed_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "kmodlab" / "images" / "image"
    folder.mkdir(parents=True)
    (folder / "vmlinuz").write_text("no kernel")
    (folder / "initrd").write_text("")
    with pytest.raises(LabError, match=r"sbsign cannot sign .*vmlinuz: |sbsign is missing"):
        signed_image(BootImage(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["image"]
