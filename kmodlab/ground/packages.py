"""The Debian packages that the lab needs. In a checkout setup.sh installs them; elsewhere a person is told how, in one line."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from kmodlab.ground.errors import LabError

ALWAYS = {
    "bubblewrap": "bwrap",
    "cpio": "cpio",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "erofs-utils": "mkfs.erofs",
    "kmod": "kmod",
    "libseccomp2": "/usr/lib/*/libseccomp.so.2",
    "make": "make",
    "mmdebstrap": "mmdebstrap",
    "openssh-client": "ssh",
    "zstd": "zstd",
}
"""What every run needs, each with a program or a file by which it is known to be there."""
SOMETIMES = {
    "arch-test": "arch-test",
    "microcom": "microcom",
    "ovmf": "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "qemu-efi-aarch64": "/usr/share/AAVMF/AAVMF_CODE.fd",
    "qemu-system-arm": "qemu-system-aarch64",
    "qemu-system-x86": "qemu-system-x86_64",
    "qemu-user-static": "qemu-aarch64-static",
    "sbsigntool": "sbsign",
}
"""What some kernels need: whoever uses these names them where they are missing."""


def need_packages() -> None:
    """LabError where something is missing that every run needs; the line that it gives installs everything that is missing."""
    absent = missing(ALWAYS)
    if absent:
        found = ", ".join(Path(ALWAYS[package]).name for package in absent)
        raise LabError(f"{found} not found", hint=install([*absent, *missing(SOMETIMES)]))


def missing(packages: dict[str, str]) -> list[str]:
    """Those of which this machine does not have the program or file."""
    return [package for package, sign in packages.items() if not _there(sign)]


def install(packages: Iterable[str]) -> str:
    """What a person types to have packages."""
    return f"run `sudo apt-get install --yes --no-install-recommends {' '.join(packages)}`"


def _there(sign: str) -> bool:
    if "/" not in sign:
        return shutil.which(sign) is not None
    return any(Path("/").glob(sign.lstrip("/")))
