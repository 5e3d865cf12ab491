"""The scenario's machines: `machines.py start FOLDER "KERNEL..."`, `machines.py stop FOLDER`.

For each kernel one module of the book is built and then signed in every way, good and bad, into FOLDER/KERNEL/modules.
The machine's firmware trusts (db) the lab's key, one whose certificate has expired, and one that it forbids as well (dbx), as it
forbids one signed file by its digest.
"""

from __future__ import annotations

import datetime
import hashlib
import lzma
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kmodlab.build import kbuild
from kmodlab.build.modules import discover
from kmodlab.build.trees import copied
from kmodlab.debian import roots
from kmodlab.debian.archive import Resolved, resolve
from kmodlab.ground.cache import REPOSITORY, cache_dir
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.machine.runtime import stop_in
from kmodlab.machine.secureboot import secure_firmware, secure_kernel, signed_image
from kmodlab.machine.vm import Vm
from kmodlab.plan.kernels import default_fleet, load_inventory, select
from kmodlab.sign import keys, signing

MODULE = "hello-2"
KEYS = cache_dir() / "secureboot-keys"
"""Of strangers and of the past: made once, so that a machine's snapshot can be used again."""


def start(folder: Path, words: str) -> None:
    found = _resolved(words)
    for resolved in found:
        path = folder / resolved.kernel.id
        machine = _machine(resolved, path, _variants(resolved, path / "modules"))
        machine.start()
        _bring(path / "modules", machine)
        print(f"{resolved.kernel.id}: {resolved.release}")
    lines = "".join(f"Include {folder}/{resolved.kernel.id}/ssh_config\n" for resolved in found)
    write_aside(folder / "ssh_config", lines)


def stop(folder: Path) -> None:
    """Needs no image and no archive: what runs is found by its folder."""
    for state in folder.glob("*/vm.json"):
        if stop_in(state.parent):
            print(f"{state.parent.name} stopped")


def _bring(variants: Path, machine: Vm) -> None:
    """All files in one go: an Ansible task costs seconds on an emulated machine."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(variants, arcname="secureboot")
    command = ["ssh", "-F", str(machine.ssh_config), machine.kernel.id, "--", "tar -x -C /run"]
    answer = subprocess.run(command, input=buffer.getvalue(), capture_output=True, timeout=120, check=False)
    if answer.returncode:
        raise LabError(f"{machine.kernel.id}: {answer.stderr.decode(errors='replace').strip()}")


def _resolved(words: str) -> list[Resolved]:
    found = resolve(select([words], load_inventory(), default_fleet())).values()
    for each in found:
        if isinstance(each, LabError):
            raise each
    return [each for each in found if isinstance(each, Resolved)]


def _machine(resolved: Resolved, folder: Path, variants: Path) -> Vm:
    kernel, revoked = resolved.kernel, keys.lab_key(KEYS / "revoked").certificate
    trusted = (keys.lab_key().certificate, _expired_twin(), revoked)
    forbidden = (hashlib.sha256((variants / "forbidden.ko").read_bytes()).hexdigest(), revoked)
    image, firmware = signed_image(roots.boot_image(resolved)), secure_firmware(kernel, trusted, forbidden)
    return Vm(secure_kernel(kernel), image, folder, folder / "console.log", firmware)


def _variants(resolved: Resolved, folder: Path) -> Path:
    """One module in every state that a kernel has an opinion on; names are what the tests call them."""
    root, root_key = roots.build_root(resolved), roots.image_key(resolved, "build")
    source = next(each for each in discover(copied(REPOSITORY / "examples")) if each.name == MODULE)
    built = kbuild.build(root, root_key, resolved.release, [source])[MODULE]
    if not built.built.ok:
        raise LabError(f"{MODULE} does not build for {resolved.kernel.id}: {built.built.reason}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def copy(name: str) -> Path:
        return shutil.copyfile(built.ko, folder / f"{name}.ko")

    copy("unsigned")
    signing.sign_modules(root, resolved.release, [copy("signed")], keys.lab_key())
    signing.sign_here([copy("detached")], keys.lab_key())
    for name in ("stranger", "expired", "revoked"):
        signing.sign_modules(root, resolved.release, [copy(name)], keys.lab_key(KEYS / name))
    good = (folder / "signed.ko").read_bytes()
    # As distributions ship modules: signed first.
    (folder / "compressed.ko.xz").write_bytes(lzma.compress(good, check=lzma.CHECK_CRC32))
    # Another file than `signed`, or the firmware would forbid that one, too: a byte is added before signing.
    padded = folder / "forbidden.ko"
    padded.write_bytes(built.ko.read_bytes() + b"\0")
    signing.sign_here([padded], keys.lab_key())
    text = good.index(b"Hello, world 2")
    (folder / "changed.ko").write_bytes(good[:text] + b"J" + good[text + 1 :])
    (folder / "truncated.ko").write_bytes(good[:-1])
    (folder / "halved.ko").write_bytes(good[: len(good) // 2])
    return folder


def _expired_twin() -> Path:
    """A certificate like that of the key `expired`, but one that ended in 2021: what a machine enrolled long ago still holds."""
    path = KEYS / "expired.pem"
    if not path.exists():
        key = keys.lab_key(KEYS / "expired")
        valid = x509.load_pem_x509_certificate(key.certificate.read_bytes())
        start, end = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2020, 2021))
        names = (valid.subject, valid.issuer)
        builder = x509.CertificateBuilder(*names, valid.public_key(), valid.serial_number, start, end)
        for extension in valid.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        private = serialization.load_pem_private_key(Path(str(key.private)).read_bytes(), None)
        twin = builder.sign(cast("rsa.RSAPrivateKey", private), hashes.SHA256())
        write_aside(path, twin.public_bytes(serialization.Encoding.PEM))
    return path


if __name__ == "__main__":
    work: dict[str, Callable[..., None]] = {"start": start, "stop": stop}
    try:
        work[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    except LabError as problem:
        sys.exit(f"secureboot: {problem}")
