"""The scenario's machines: `machines.py start|stop FOLDER KERNEL...`.

For each kernel one module of the book is built and then signed in every way, good and bad, into FOLDER/KERNEL/modules;
the machine's firmware trusts the lab's key, a key whose certificate has expired, and forbids one signed file by its digest.
"""

from __future__ import annotations

import datetime
import hashlib
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kmodlab import build, images, signing
from kmodlab.cache import REPOSITORY, cache_dir, write_aside
from kmodlab.errors import LabError
from kmodlab.images import BootImage
from kmodlab.kernels import Resolved, default_fleet, load_inventory, resolve, select
from kmodlab.modules import discover
from kmodlab.secureboot import SecureVm, secure_kernel, signed_image
from kmodlab.signing import SigningKey
from kmodlab.vm import Vm

MODULE = "hello-2"
KEYS = cache_dir() / "secureboot-keys"
"""Of strangers and of the past: made once, so that a machine's snapshot can be used again."""


def start(folder: Path, words: list[str]) -> None:
    for resolved in _resolved(words):
        path = folder / resolved.kernel.id
        variants = _variants(resolved, path / "modules")
        forbidden = hashlib.sha256((variants / "forbidden.ko").read_bytes()).hexdigest()
        machine = _machine(resolved, path, (_expired_twin(),), (forbidden,))
        machine.start()
        _bring(variants, machine)
        print(f"{resolved.kernel.id}: {resolved.release}")
    lines = "".join(f"Include {folder}/{word}/ssh_config\n" for word in words)
    write_aside(folder / "ssh_config", lines)


def stop(folder: Path, words: list[str]) -> None:
    """Needs no image and no archive: what runs is found by its folder."""
    for kernel in select(words, load_inventory(), default_fleet()):
        path = folder / kernel.id
        machine = Vm(kernel, BootImage(path), path, path / "console.log")
        if machine.state:
            machine.stop()
            print(f"{kernel.id} stopped")


def _bring(variants: Path, machine: SecureVm) -> None:
    """All files in one go: an Ansible task costs seconds on an emulated machine."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(variants, arcname="secureboot")
    command = ["ssh", "-F", str(machine.ssh_config), machine.kernel.id, "--", "tar -x -C /run"]
    answer = subprocess.run(command, input=buffer.getvalue(), capture_output=True, timeout=120, check=False)
    if answer.returncode:
        raise LabError(f"{machine.kernel.id}: {answer.stderr.decode(errors='replace').strip()}")


def _resolved(words: list[str]) -> list[Resolved]:
    found = resolve(select(words, load_inventory(), default_fleet())).values()
    for each in found:
        if isinstance(each, LabError):
            raise each
    return [each for each in found if isinstance(each, Resolved)]


def _machine(resolved: Resolved, folder: Path, trusted: tuple[Path, ...], refused: tuple[str, ...]) -> SecureVm:
    folder.mkdir(parents=True, exist_ok=True)
    image = signed_image(images.boot_image(resolved))
    certificate = signing.lab_key().certificate
    console = folder / "console.log"
    return SecureVm(secure_kernel(resolved.kernel), image, folder, console, certificate, trusted, refused)


def _variants(resolved: Resolved, folder: Path) -> Path:
    """One module in every state that a kernel has an opinion on; names are what the tests call them."""
    root, root_key = images.build_root(resolved), images.image_key(resolved, "build")
    source = next(each for each in discover(REPOSITORY / "examples") if each.name == MODULE)
    built = build.build(root, root_key, resolved.release, [source])[MODULE]
    if not built.built.ok:
        raise LabError(f"{MODULE} does not build for {resolved.kernel.id}: {built.built.reason}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def copy(name: str) -> Path:
        return shutil.copyfile(built.ko, folder / f"{name}.ko")

    copy("unsigned")
    signing.sign_modules(root, resolved.release, [copy("signed")], signing.lab_key())
    signing.sign_here([copy("detached")], signing.lab_key())
    signing.sign_modules(root, resolved.release, [copy("stranger")], signing.lab_key(KEYS / "stranger"))
    signing.sign_modules(root, resolved.release, [copy("expired")], _past_key())
    good = (folder / "signed.ko").read_bytes()
    # Another file than `signed`, or the firmware would forbid that one, too: a byte is added before signing.
    padded = folder / "forbidden.ko"
    padded.write_bytes(built.ko.read_bytes() + b"\0")
    signing.sign_here([padded], signing.lab_key())
    text = good.index(b"Hello, world 2")
    (folder / "changed.ko").write_bytes(good[:text] + b"J" + good[text + 1 :])
    (folder / "truncated.ko").write_bytes(good[:-1])
    return folder


def _past_key() -> SigningKey:
    return signing.lab_key(KEYS / "past")


def _expired_twin() -> Path:
    """A certificate like that of the past key, but one that ended in 2021: what a machine holds that was enrolled long ago."""
    path = KEYS / "expired.pem"
    if not path.exists():
        key = _past_key()
        valid = x509.load_pem_x509_certificate(key.certificate.read_bytes())
        start, end = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2020, 2021))
        names = (valid.subject, valid.issuer)
        builder = x509.CertificateBuilder(*names, valid.public_key(), valid.serial_number, start, end)
        for extension in valid.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        private = serialization.load_pem_private_key(key.private.read_bytes(), None)
        twin = builder.sign(cast("rsa.RSAPrivateKey", private), hashes.SHA256())
        write_aside(path, twin.public_bytes(serialization.Encoding.PEM))
    return path


if __name__ == "__main__":
    try:
        {"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3].split())
    except LabError as problem:
        sys.exit(f"secureboot: {problem}")
