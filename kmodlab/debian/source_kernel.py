"""A kernel that the lab builds itself, of a distribution's source package: as packages, so that all else is as for any other.

The inventory names the source package and the configuration. The build runs in the release's own root, in the sandbox; what it
makes is a small repository of packages in the cache, under the version of the source and a digest of the configuration.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import psutil

from kmodlab.debian.archive import Resolved
from kmodlab.ground import sandbox
from kmodlab.ground.cache import cache_dir, filled, locked
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, regular_files, scratch, write_aside
from kmodlab.ground.sandbox import Limits
from kmodlab.plan.kernels import DEBIAN_ARCH, Kernel

TOOLS = ("bc", "bison", "cpio", "debhelper", "dpkg-dev", "flex", "kmod", "libelf-dev", "libssl-dev", "rsync", "xz-utils")
"""Packages that a kernel's own build needs beside make and a compiler."""
MODULE_TOOLS = ("libelf-dev", "libssl-dev")
"""Packages that its headers package needs and does not name: its objtool and sign-file are linked with them."""
LARGE = Limits(
    seconds=5400, memory=psutil.virtual_memory().total, disk=60 << 30, files=2_000_000, file=8 << 30, output=256 * sandbox.MIB
)
"""For the build; ten minutes on two processors, and more where they have other work, too."""
UNPACKING = replace(LARGE, seconds=900)
"""For unpacking and configuring."""
LARGEST = 1 << 30
"""Bytes of a package."""


def build_packages(resolved: Resolved, root: Path) -> None:
    """Build the repository with a kernel's packages in `root`, unless another kmodlab has just done it."""
    target = packages_path(resolved)
    with locked(target.name, wait=LARGE.seconds, busy=f"another kmodlab has been building {target.name} for an hour and a half"):
        if not target.exists():
            with filled(target) as folder, scratch("kernel", cache_dir()) as work:
                _build(resolved, root, folder, work)


def packages_path(resolved: Resolved) -> Path:
    """Where a kernel's packages are, or would be."""
    kernel = resolved.kernel
    return cache_dir() / "kernels" / "-".join(filter(None, (kernel.id, resolved.version, kernel.kernel_own_key)))


def _build(resolved: Resolved, root: Path, folder: Path, work: Path) -> None:
    kernel = resolved.kernel
    (work / "source").mkdir()
    shutil.copyfile(kernel.config_path, work / "wanted.config")
    unpack = f"tar -x -C source --strip-components=1 -f /usr/src/{kernel.kernel_source}.tar.xz"
    if kernel.kernel_patch:
        shutil.copyfile(kernel.recipe[-1], work / "wanted.patch")
        unpack += "\npatch --no-backup-if-mismatch -d source -p1 <wanted.patch"
    configure = f"{_make(kernel)} KCONFIG_ALLCONFIG={sandbox.WORK}/wanted.config allnoconfig"
    _run(resolved, root, work, f"{unpack}\n{configure}", UNPACKING)
    config = read_regular(work / "source/.config", sandbox.MIB).decode()
    if lost := lost_lines(kernel.config_path.read_text(), config):
        raise LabError(
            f"{kernel.config_path}: {', '.join(lost)}: overruled by the rules of {resolved.source_package}",
            hint="add what each depends on, or take it out",
        )
    packages = _uml_packages(resolved) if kernel.uml else _debian_packages(resolved)
    _run(resolved, root, work, f"{packages}\ncd packages; dpkg-scanpackages --multiversion . >Packages", LARGE)
    for path in regular_files(work / "packages", "*"):
        (folder / path.name).write_bytes(read_regular(path, LARGEST))


def _make(kernel: Kernel) -> str:
    """The kernel's own make."""
    return f"make -C source{' ARCH=um' if kernel.uml else ''}"


def _built(resolved: Resolved, targets: str) -> str:
    """The command that builds a kernel."""
    names = f"LOCALVERSION=-{resolved.kernel.kernel_package} KDEB_PKGVERSION={resolved.version}"
    builder = "KBUILD_BUILD_USER=kmodlab KBUILD_BUILD_HOST=lab"
    return f"{_make(resolved.kernel)} -j{os.cpu_count() or 1} {names} {builder} {targets}"


def _names(resolved: Resolved) -> dict[str, str]:
    """A kernel's packages and their files: its image, and the headers that its modules are built with."""
    rest = f"{resolved.version}_{DEBIAN_ARCH[resolved.kernel.userland_arch]}.deb"
    return {f"{kind}-{resolved.release}": f"{kind}-{resolved.release}_{rest}" for kind in ("linux-image", "linux-headers")}


def _debian_packages(resolved: Resolved) -> str:
    """The script that has a kernel make its packages itself."""
    # -d: its build dependencies are what the root holds.
    build = _built(resolved, "DPKG_FLAGS=-d bindeb-pkg")
    return f"{build}\nmkdir packages; mv {' '.join(_names(resolved).values())} packages"


def _uml_packages(resolved: Resolved) -> str:
    """The script that makes the same two of User-Mode Linux, whose own make has no package with headers.

    Beside what that make counts as headers, a module needs parts of the host's architecture. And nobody who calls make there
    knows that its ARCH is another.
    """
    release = resolved.release
    image, headers = _names(resolved)
    source, build = f"{headers}/usr/src/{headers}", f"{headers}/lib/modules/{release}/build"
    made = f"{_make(resolved.kernel)} -s run-command KBUILD_RUN_COMMAND='$(srctree)/scripts/package/install-extmod-build"
    lines = [
        _built(resolved, "linux modules"),
        f"mkdir -p packages {image}/boot {image}/lib/modules/{release} {source} {headers}/lib/modules/{release}",
        f"cp source/linux {image}/boot/vmlinuz-{release}",
        f"cp source/modules.builtin source/modules.builtin.modinfo source/modules.order {image}/lib/modules/{release}",
        f"LOCALVERSION=-{resolved.kernel.kernel_package} {made} {sandbox.WORK}/{source}'",
        f"cd source; tar -c --exclude='*.[coS]' arch/x86/Makefile* arch/x86/um arch/x86/include | tar -x -C ../{source}; cd ..",
        f"find {source} -name '*.cmd' -delete",
        f"sed -i 's/^ARCH\\s*?=.*/override ARCH := um/' {source}/Makefile",
        f"ln -s /usr/src/{headers} {build}",
    ]
    for name, file in _names(resolved).items():
        fields = f"Package: {name}\\nVersion: {resolved.version}\\nArchitecture: amd64\\nMaintainer: kmodlab <lab@localhost>\\n"
        about = "Description: User-Mode Linux, built by kmodlab\\n"
        lines += [
            f"mkdir {name}/DEBIAN; printf '{fields}{about}' >{name}/DEBIAN/control",
            f"dpkg-deb --root-owner-group -Zxz -z1 --build {name} packages/{file}",
        ]
    return "\n".join(lines)


def lost_lines(wanted: str, config: str) -> list[str]:
    """The settings of a fragment that a finished configuration does not have."""
    got = set(config.splitlines())
    return [line for line in wanted.splitlines() if "CONFIG_" in line and not _is_set(line, got)]


def _is_set(line: str, got: set[str]) -> bool:
    if line.endswith(" is not set"):
        # An option that is not even offered is not set, either.
        return not any(each.startswith(f"{line.split()[1]}=") for each in got)
    return line in got or not line.startswith("CONFIG_")


def _run(resolved: Resolved, root: Path, work: Path, script: str, limits: Limits) -> None:
    answer = sandbox.run(root, ["sh", "-e", "-c", script], work=work, limits=limits)
    if answer.status:
        log = cache_dir() / "logs" / f"{resolved.kernel.id}-kernel.log"
        log.parent.mkdir(exist_ok=True)
        write_aside(log, answer.log)
        reason = next((line for line in answer.output.splitlines() if "rror:" in line or "***" in line), answer.last_word)
        raise LabError(f"kernel {resolved.kernel.id} could not be built: {answer.overrun or reason.strip()} (all of it: {log})")
