"""What a boot image's root holds beside its kernel, of another architecture than this machine's: made of a native one.

Installing packages of another architecture means running their scripts through an emulator, for minutes. But what those scripts
and the roles leave behind (users, links, configuration, byte-code, keys) is the same on every architecture, and what differs
comes out of the packages ready-made. So the lab installs a release's userland once, natively, and then changes its packages.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from kmodlab.debian import archive
from kmodlab.debian.archive import Resolved
from kmodlab.ground.errors import LabError
from kmodlab.ground.process import LONG

OF_ONE_ARCHITECTURE = ("etc/ld.so.cache", "var/cache/ldconfig", "var/lib/dpkg")
"""What a native root has beside its packages that is not true of another architecture."""
WRITTEN = ("etc", "var", "root")
"""Folders whose files are not packages' alone."""


def transplant(native: Path, resolved: Resolved, root: Path) -> None:
    """Make `root`: the userland in the folder `native`, with the packages of a kernel's architecture in the place of its own."""
    copy(native, root)
    packages = _packages(root)
    for path in _files(root, packages):
        path.unlink(missing_ok=True)
    debs = root.with_name("debs")
    unpack(archive.download(resolved, packages, debs, arch=resolved.kernel.userland_arch), root)
    shutil.rmtree(debs)
    for name in OF_ONE_ARCHITECTURE:
        path = root / name
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)


def copy(root: Path, target: Path) -> None:
    """Copy a root. Packages' files are linked, because dpkg never writes into one; those that others change are copied."""
    target.mkdir()
    for path in root.iterdir():
        link = [] if path.name in WRITTEN else ["--link"]
        _run(["cp", "--archive", *link, str(path), str(target)])


def unpack(packages: Iterable[Path], root: Path) -> None:
    """Put what packages hold into a root, without running their scripts."""
    for package in packages:
        # tar, because dpkg-deb --extract makes folders of links: /lib is one to /usr/lib.
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as reader:
            _run(["tar", "--extract", f"--directory={root}", "--keep-directory-symlink"], reader.stdout)
        if reader.returncode:
            raise LabError(f"{package.name} cannot be unpacked: dpkg-deb ended with status {reader.returncode}")


def _packages(root: Path) -> list[str]:
    """A root's packages that differ from architecture to architecture."""
    shown = _run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "--showformat=${Package} ${Architecture}\n"])
    return [name for name, arch in map(str.split, shown.splitlines()) if arch != "all"]


def _files(root: Path, packages: list[str]) -> list[Path]:
    """The files that packages have put into a root; a link in it that leads out of it is not followed."""
    listed = _run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--listfiles", *packages]).splitlines()
    paths = [root / line[1:] for line in listed if line.startswith("/")]
    inside = [path for path in paths if path.parent.resolve().is_relative_to(root.resolve())]
    return [path for path in inside if not path.is_dir()]  # nor a link to one: a package says /bin of a link to /usr/bin


def _run(command: list[str], stdin: IO[bytes] | None = None) -> str:
    answer = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False, timeout=LONG)
    if answer.returncode:
        raise LabError(f"{command[0]} failed: {(answer.stderr.strip().splitlines() or ['no word'])[-1]}")
    return answer.stdout
