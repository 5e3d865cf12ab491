"""A kernel of the user's own: a folder with its two packages, as `make bindeb-pkg` or a distribution makes them; or the built
tree that they are beside.

It is looked at before anything is made of it: what the lab needs and the kernel lacks is one line, with what mends it. It runs on
the machine that the inventory has for its architecture, with the userland and the compiler of the release that has its compiler.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from debian.deb822 import Deb822

from kmodlab.debian.archive import Resolved, mirrors, sources
from kmodlab.debian.source_kernel import packages_path
from kmodlab.ground.cache import digest, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import there
from kmodlab.ground.process import LONG
from kmodlab.plan.kernels import DEBIAN_ARCH, Kernel

IMAGE, HEADERS = "linux-image-", "linux-headers-"
COMPILERS = {"10": "bullseye", "12": "bookworm", "14": "trixie"}
"""By gcc's number the release of the inventory that has it."""
BUILT_IN = (
    *("MODULES", "MODULE_UNLOAD", "MODULE_SIG", "KALLSYMS", "PRINTK", "SYSFS", "PROC_FS", "TMPFS", "DEVTMPFS", "BLK_DEV_INITRD"),
    *("BINFMT_ELF", "BINFMT_SCRIPT", "UNIX98_PTYS", "UNIX", "INET", "NET", "PCI", "MULTIUSER", "FUTEX", "EPOLL"),
)
"""Options that the lab needs, which are part of the kernel or not there."""
ANYHOW = ("EROFS_FS", "OVERLAY_FS", "VIRTIO_PCI", "VIRTIO_BLK", "VIRTIO_NET")
"""Those that may be modules."""
OF_ARCH = {
    "x86_64": ("SERIAL_8250_CONSOLE", "EFI_STUB"),
    "arm64": ("SERIAL_AMBA_PL011_CONSOLE",),
    "armhf": ("SERIAL_AMBA_PL011_CONSOLE",),
}
"""Options that its machine needs."""
ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64", "ARM": "armhf"}
"""By the option that a configuration has: Debian's name of what it is for."""
MEND = "have its tree make packages (`make bindeb-pkg`), and name the folder that has linux-image and linux-headers"
CONFIG_MOST = 4 << 20
"""Bytes of a configuration."""


def named_paths(text: str) -> tuple[list[Path], str]:
    """The kernels of KERNELS that are paths, and the rest of it."""
    words = [text] if "/" in text and there(text) else text.split()
    paths = [word for word in words if "/" in word]
    return [Path(word).absolute() for word in paths], " ".join(word for word in words if word not in paths)


def own_kernel(folder: Path, inventory: dict[str, Kernel]) -> Resolved:
    """The kernel in a folder of two packages, or of a built tree. LabError where it cannot be one of the lab's: one line for the
    first reason.
    """
    places = (folder,) if folder.is_dir() else folder.parents
    tree = next((each for each in places if (each / "Kconfig").is_file() and (each / "Makefile").is_file()), None)
    image, headers = _beside(tree, inventory) if tree else _pair(folder)
    about, other = (Deb822(_about(each)) for each in (image, headers))
    release, config = _inside(image)
    if other["Package"] != f"{HEADERS}{release}" or other["Version"] != about["Version"]:
        whose = f"{other['Package']} {other['Version']}"
        raise LabError(f"KERNELS: {folder}: release {release} {about['Version']}, but its headers are {whose}", hint=MEND)
    like = _like(folder, release, config, about["Architecture"], inventory)
    key = digest(image, headers)
    kernel = like.model_copy(
        update={
            "id": f"own-{release}",
            "kernel_line": ".".join(release.split(".")[:2]).partition("-")[0],
            "kernel_package": "own",
            "kernel_own": str(folder),
            "kernel_own_key": key,
            "vm_gpio": like.vm_gpio if like.vm_gpio and like.vm_gpio.provider == "simulated" else None,
        }
    )
    main, security = mirrors()
    resolved = Resolved(kernel=kernel, release=release, version=about["Version"], sources=sources(kernel, main, security))
    _keep(resolved, [image, headers])
    return resolved


def _beside(tree: Path, inventory: dict[str, Kernel]) -> tuple[Path, Path]:
    """The two packages that a tree has made of itself. What is wrong with it is said before it has made any."""
    if not (tree / ".config").is_file():
        raise LabError(f"KERNELS: {tree} is a kernel's source tree without .config", hint="configure it, then `make bindeb-pkg`")
    config = (tree / ".config").read_text(errors="replace")
    told = tree / "include/config/kernel.release"
    release = told.read_text().strip() if told.is_file() else ""
    arch = next(
        (arch for option, arch in ARCHITECTURES.items() if f"\nCONFIG_{option}=y\n" in f"\n{config}"), "an unknown machine"
    )
    _like(tree, release or "its configuration", config, arch, inventory)
    if not release:
        raise LabError(f"KERNELS: {tree} is configured rightly, and not built", hint="`make bindeb-pkg` there, and name it again")
    images = sorted(tree.parent.glob(f"{IMAGE}{release}_*.deb"), key=lambda each: each.stat().st_mtime)
    if not images:
        raise LabError(
            f"KERNELS: {tree}: there are no packages of {release} beside it", hint="`make bindeb-pkg` there makes them"
        )
    image = images[-1]
    headers = image.with_name(image.name.replace(IMAGE, HEADERS, 1))
    if not headers.is_file():
        raise LabError(f"KERNELS: {tree}: {image.name} is beside it, and no {headers.name}", hint="`make bindeb-pkg` makes both")
    for name in (".config", "vmlinux"):
        if (tree / name).exists() and (tree / name).stat().st_mtime > image.stat().st_mtime:
            raise LabError(f"KERNELS: {tree}: its {name} is newer than {image.name}", hint="`make bindeb-pkg` again")
    return image, headers


def _pair(folder: Path) -> tuple[Path, Path]:
    """The two packages."""
    if installed := re.fullmatch(r"vmlinu[xz]-(.+)", folder.name):
        both = f"{IMAGE}{installed[1]} {HEADERS}{installed[1]}"
        mend = f"name a folder that has both: `apt-get download {both}` there, where a distribution has made them"
        raise LabError(f"KERNELS: {folder} is a kernel without its modules and headers", hint=mend)
    if not folder.is_dir():
        raise LabError(f"KERNELS: {folder} is no folder", hint=f"a kernel of one's own is a folder with two packages: {MEND}")
    found = []
    for kind in (IMAGE, HEADERS):
        packages = [each for each in sorted(folder.glob(f"{kind}*.deb")) if "-dbg" not in each.name]
        if len(packages) > 1:
            raise LabError(
                f"KERNELS: {folder} has {len(packages)} packages {kind}*", hint="leave one of them there, or give each a folder"
            )
        if not packages:
            raise LabError(f"KERNELS: {folder} is without a package {kind}*.deb", hint=MEND)
        found.append(packages[0])
    return found[0], found[1]


def _about(package: Path) -> str:
    """What a package says of itself; LabError where it is none."""
    command = ["dpkg-deb", "--field", str(package)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONG)
    if answer.returncode:
        raise LabError(f"KERNELS: {package} is no whole package: {answer.stderr.strip()}", hint="copy or build it again")
    return answer.stdout.strip()


def _inside(image: Path) -> tuple[str, str]:
    """The release of the kernel in a package, and its configuration. Both come before the modules, which are not read."""
    release = config = ""
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(image)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as reader:
        try:
            with tarfile.open(fileobj=reader.stdout or BytesIO(), mode="r|") as tar:
                for member in tar:
                    name = member.name.removeprefix("./")
                    if found := re.fullmatch(r"(?:usr/)?lib/modules/([\w][\w.+~-]*)/?.*", name):
                        release = found[1]
                    content = tar.extractfile(member) if re.fullmatch(r"boot/config-.+", name) and member.isreg() else None
                    if content:
                        config = content.read(CONFIG_MOST).decode(errors="replace")
                    if release and config:
                        break
        except tarfile.TarError as problem:
            raise LabError(f"KERNELS: {image} is no whole package: {problem}", hint="copy or build it again") from problem
        finally:
            reader.kill()
    if not release or not config:
        lacking = "modules" if not release else "configuration (boot/config-RELEASE)"
        raise LabError(f"KERNELS: {image} holds no {lacking}", hint="name the package that the kernel itself is in")
    return release, config


def _like(folder: Path, release: str, config: str, arch: str, inventory: dict[str, Kernel]) -> Kernel:
    """The kernel of the inventory whose machine, userland and compiler it gets; what it lacks for that is a LabError."""
    kernels = [each for each in inventory.values() if DEBIAN_ARCH.get(each.kernel_arch) == arch and not each.kernel_source]
    if not kernels:
        known = " ".join(sorted(set(DEBIAN_ARCH.values())))
        raise LabError(f"KERNELS: {folder}: {release} is for {arch}", hint=f"the lab has machines for {known}")
    if lines := lacking(config, kernels[0].kernel_arch):
        raise LabError(
            f"KERNELS: {folder}: {release} is without what the lab needs", hint=f"add to its .config: {' '.join(lines)}"
        )
    named = re.search(r'^CONFIG_CC_VERSION_TEXT="(.*)"$', config, re.MULTILINE)
    compiler = named[1] if named else "an unknown compiler"
    number = re.search(r"gcc.* (\d+)\.\d+\.\d+", compiler)
    suite = COMPILERS.get(number[1] if number else "", "")
    found = next((each for each in kernels if each.distribution == suite), None)
    if not found:
        have = ", ".join(f"gcc {number} ({suite})" for number, suite in COMPILERS.items())
        mend = f"the lab has {have}: build it with one of these"
        raise LabError(f"KERNELS: {folder}: {release} was built with {compiler}", hint=mend)
    return found


def lacking(config: str, arch: str) -> list[str]:
    """The lines that a configuration lacks, with which the lab can boot it, log in and load modules."""
    has = dict(re.findall(r"^CONFIG_(\w+)=(\S+)$", config, re.MULTILINE))
    lines = [f"CONFIG_{name}=y" for name in (*BUILT_IN, *OF_ARCH.get(arch, ())) if has.get(name) != "y"]
    return lines + [f"CONFIG_{name}=m" for name in ANYHOW if has.get(name) not in ("y", "m")]


def _keep(resolved: Resolved, packages: list[Path]) -> None:
    """Have the packages where those of the lab's own kernels are: a small repository that apt can read."""
    target = packages_path(resolved)
    if target.exists():
        return
    with filled(target) as folder:
        entries = []
        for package in packages:
            shutil.copyfile(package, folder / package.name)
            sha = hashlib.sha256(package.read_bytes()).hexdigest()
            entries.append(f"{_about(package)}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {sha}\n")
        (folder / "Packages").write_text("\n".join(entries))
