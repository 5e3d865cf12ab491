"""A kernel that the lab builds itself, of a distribution's source package: as packages, so that all else is as for any other.

The inventory names the source package and the configuration. The build runs in the release's own root, in the sandbox; what it
makes is a small repository of packages in the cache, under the version of the source and a digest of the configuration.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kmodlab import sandbox
from kmodlab.cache import cache_dir, filled, locked, write_aside
from kmodlab.errors import LabError
from kmodlab.kernels import DEBIAN_ARCH, Resolved

TOOLS = ("bc", "bison", "cpio", "debhelper", "dpkg-dev", "flex", "kmod", "libelf-dev", "libssl-dev", "rsync", "xz-utils")
"""Packages that a kernel's own build needs beside make and a compiler."""
MODULE_TOOLS = ("libelf-dev", "libssl-dev")
"""Packages that its headers package needs and does not name: its objtool and sign-file are linked with them."""
UNPACK_LIMIT = 900.0
"""Seconds for unpacking and configuring."""
BUILD_LIMIT = 5400.0
"""Seconds for the build; ten minutes on two processors, and more where they have other work, too."""


def build_packages(resolved: Resolved, root: Path) -> None:
    """Build the repository with a kernel's packages in `root`, unless another kmodlab has just done it."""
    target = packages_path(resolved)
    with locked(target.name, wait=BUILD_LIMIT, busy=f"another kmodlab has been building {target.name} for an hour and a half"):
        if not target.exists():
            with filled(target) as folder:
                _build(resolved, root, folder)


def packages_path(resolved: Resolved) -> Path:
    """Where a kernel's packages are, or would be."""
    return cache_dir() / "kernels" / f"{resolved.kernel.id}-{resolved.version}"


def _build(resolved: Resolved, root: Path, folder: Path) -> None:
    kernel, work = resolved.kernel, folder / "work"
    (work / "source").mkdir(parents=True)
    shutil.copyfile(kernel.config_path, work / "wanted.config")
    unpack = f"tar -x -C source --strip-components=1 -f /usr/src/{kernel.kernel_source}.tar.xz"
    configure = f"make -C source KCONFIG_ALLCONFIG={sandbox.WORK}/wanted.config allnoconfig"
    _run(resolved, root, work, f"{unpack}\n{configure}", UNPACK_LIMIT)
    if lost := lost_lines((work / "wanted.config").read_text(), (work / "source/.config").read_text()):
        raise LabError(
            f"{kernel.config_path}: {', '.join(lost)}: overruled by the rules of {resolved.source_package}; "
            "add what each depends on, or take it out"
        )
    # -d: its build dependencies are what the root holds.
    names = f"LOCALVERSION=-{kernel.kernel_package} KDEB_PKGVERSION={resolved.version}"
    builder = "KBUILD_BUILD_USER=kmodlab KBUILD_BUILD_HOST=lab"
    build = f"make -C source -j{os.cpu_count() or 1} {names} {builder} DPKG_FLAGS=-d bindeb-pkg"
    architecture = DEBIAN_ARCH[kernel.kernel_arch]
    products = [f"{kind}-{resolved.release}_{resolved.version}_{architecture}.deb" for kind in ("linux-image", "linux-headers")]
    keep = f"mkdir packages; mv {' '.join(products)} packages; cd packages; dpkg-scanpackages --multiversion . >Packages"
    _run(resolved, root, work, f"{build}\n{keep}", BUILD_LIMIT)
    for path in (work / "packages").iterdir():
        path.rename(folder / path.name)
    shutil.rmtree(work)


def lost_lines(wanted: str, config: str) -> list[str]:
    """The settings of a fragment that a finished configuration does not have."""
    got = set(config.splitlines())
    return [line for line in wanted.splitlines() if "CONFIG_" in line and not _is_set(line, got)]


def _is_set(line: str, got: set[str]) -> bool:
    if line.endswith(" is not set"):
        # An option that is not even offered is not set, either.
        return not any(each.startswith(f"{line.split()[1]}=") for each in got)
    return line in got or not line.startswith("CONFIG_")


def _run(resolved: Resolved, root: Path, work: Path, script: str, limit: float) -> None:
    answer = sandbox.run(root, ["sh", "-e", "-c", script], work=work, limit=limit)
    if answer.returncode:
        log = cache_dir() / "logs" / f"{resolved.kernel.id}-kernel.log"
        log.parent.mkdir(exist_ok=True)
        write_aside(log, answer.stdout)
        lines = answer.stdout.splitlines()
        reason = next((line for line in lines if "rror:" in line or "***" in line), (lines or ["no word"])[-1])
        raise LabError(f"kernel {resolved.kernel.id} could not be built: {reason.strip()} (all of it: {log})")
