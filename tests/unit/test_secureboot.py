"""A machine with Secure Boot trusts exactly the keys that it was given, and says in one line why it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from kmodlab import secureboot, signing
from kmodlab.errors import LabError
from kmodlab.images import BootImage
from kmodlab.kernels import Kernel, load_inventory
from kmodlab.secureboot import SecureVm, secure_kernel, signed_image


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def kernel() -> Kernel:
    return load_inventory()["6.12-x86_64"]


@pytest.mark.skipif(not secureboot.CODE.exists(), reason=f"{secureboot.CODE} is missing: install ovmf")
def test_the_firmware_trusts_what_it_was_given_and_forbids_the_rest(kernel: Kernel, tmp_path: Path) -> None:
    other = signing.lab_key(tmp_path / "other", "rsa-2048")
    own = signing.lab_key()
    image = BootImage(tmp_path)
    digest = "ab" * 32
    vm = SecureVm(secure_kernel(kernel), image, tmp_path, tmp_path / "log", own.certificate, (other.certificate,), (digest,))
    vm._enrol()
    tool = Path(sys.executable).parent / "virt-fw-vars"
    command = [str(tool), "--input", str(tmp_path / "variables.fd"), "--print", "--verbose", "--hashes"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    db = said[said.index("name=db ") : said.index("name=dbx ")]
    for key in (own, other, signing.kernel_key()):
        assert x509.load_pem_x509_certificate(key.certificate.read_bytes()).subject.rfc4514_string() in db
    assert digest in said[said.index("name=dbx ") :]
    assert "SecureBootEnable" in said


def test_only_x86_64_has_secure_boot_here(kernel: Kernel) -> None:
    board = kernel.model_copy(update={"id": "6.12-arm64", "kernel_arch": "arm64"})
    with pytest.raises(LabError, match=r"6\.12-arm64: Secure Boot is for x86_64 kernels only"):
        secure_kernel(board)


def test_missing_firmware_is_named_with_its_package(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secureboot, "CODE", Path("/nowhere/OVMF_CODE.fd"))
    with pytest.raises(LabError, match=r"6\.12-x86_64: /nowhere/OVMF_CODE\.fd is missing: install the package ovmf"):
        secure_kernel(kernel)


def test_a_kernel_that_cannot_be_signed_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "kmodlab" / "images" / "image"
    folder.mkdir(parents=True)
    (folder / "vmlinuz").write_text("no kernel")
    (folder / "initrd").write_text("")
    with pytest.raises(LabError, match=r"sbsign cannot sign .*vmlinuz: |sbsign is missing"):
        signed_image(BootImage(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["image"]
