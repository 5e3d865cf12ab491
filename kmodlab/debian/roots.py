"""Build roots and bootable images, one of each for a kernel, made by running the roles in a chroot.

A *build root* is a folder: the release's own compiler, headers and kbuild. A *boot image* is what QEMU starts: the kernel,
a tiny initramfs with just the modules that reach the root, and the root as a read-only EROFS file: the *userland* that all
kernels of a release share, and the kernel's packages. All are cached under a key of everything they are made from, so that
an unchanged kernel costs nothing, and a new one no more than its packages.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from kmodlab.debian import archive, initrd, qemu_user, source_kernel, userland
from kmodlab.debian.archive import SECURE, Resolved, apt_settings
from kmodlab.ground.ansible import ansible_settings
from kmodlab.ground.cache import REPOSITORY, cache_dir, digest, filled, locked
from kmodlab.ground.errors import LabError
from kmodlab.ground.process import LONG
from kmodlab.plan.kernels import DEBIAN_ARCH, Kernel, load_inventory, native_arch

Kind = Literal["userland", "build", "boot", "machine", "systemd", "source"]
"""A machine is an ordinary host, to try the roles for real machines on: it boots, its packages are all installed, and it holds
what a build root holds, too. One whose services and timers are to run has systemd. A source root is what a kernel of the lab's
own is built in."""
Host = Literal["machine", "systemd"]
MACHINE_ROLES = ("kernel_image", "kmod_tools", "guest_base", "kernel_headers", "build_toolchain")
ROLES: dict[Kind, tuple[str, ...]] = {
    "build": ("kernel_headers", "build_toolchain"),
    "userland": ("guest_base",),
    "boot": (),
    "machine": MACHINE_ROLES,
    "systemd": (*MACHINE_ROLES, "guest_systemd"),
    "source": ("build_toolchain",),
}
HOSTS: tuple[Kind, ...] = get_args(Host)
PACKED: tuple[Kind, ...] = ("boot", *HOSTS)
"""What QEMU starts; the others are folders."""
KERNEL_IN: tuple[Kind, ...] = ("build", *PACKED)
"""What has something of its kernel's packages in it."""
ON_USERLAND: tuple[Kind, ...] = ("build", "boot", "source")
"""What begins as a copy of its release's userland; the others are made from nothing."""
LEFT_OUT = (
    "/lib/modules/*/kernel/*",
    "/usr/lib/modules/*/kernel/*",
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
)
"""What nothing is built with, as dpkg's path-exclude takes it. Some headers bring the kernel itself, with all its modules."""
CROSS_ROLES = ("cross_toolchain",)
"""Of a build root for another architecture: it is a root of this machine's own, with a cross compiler."""
LOADERS = ("shim-signed", "grub-efi-amd64-signed", "mokutil")
"""What a machine has beside its kernel: the boot loaders that the distribution signed, and what talks to the first of them."""
LOADER_FILES = {
    "usr/lib/shim/shimx64.efi.signed": "EFI/BOOT/BOOTX64.EFI",
    "usr/lib/shim/mmx64.efi.signed": "EFI/BOOT/mmx64.efi",
    "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": "EFI/BOOT/grubx64.efi",
}
"""Where a machine's root has them, and where firmware, shim and grub look for them."""
ROLE_PARTS = ("tasks", "defaults", "files", "templates", "vars", "handlers")
"""What of a role decides what it makes."""
PASSED_ON = ("XDG_CACHE_HOME", "HOME", "http_proxy", "https_proxy")
"""Of a user's environment, what root needs to make an image for them."""
RECIPE = "1"
"""To be raised when the code below makes something else of the same packages and roles."""
BACKPORTS = "-backports"
"""What the suites end with that bring a release newer packages, of which the lab takes only kernels."""
MADE_AS = "made_as"
"""In a build root that another lab has made (debian/handover.py), the file with the name that it has there."""
UNWANTED = ("boot", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists", "var/cache")
"""Folders whose content a boot image does not carry."""


@dataclass(frozen=True)
class BootImage:
    """The files of a bootable image, all in one folder that nobody writes to."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def root(self) -> Path:
        return self.folder / "root.erofs"

    @property
    def dtb(self) -> Path:
        """The device tree, where the machine's data names one."""
        return self.folder / "board.dtb"

    @property
    def loader(self) -> Path:
        """A machine's signed boot loaders, as they lie in an EFI system partition."""
        return self.folder / "loader"

    @property
    def host_key(self) -> str:
        """The public SSH host key that this image answers with: `ssh-ed25519 AAAA...`."""
        return (self.folder / "host_key.pub").read_text().strip()


def image_key(resolved: Resolved, kind: Kind, *, anyones: bool = False) -> str:
    """The content key of an image: the packages, the roles that make it, how it is packed, and the lab's SSH key.

    `anyones`: without the latter, and so the same in every lab; no image has this name.
    """
    kernel = resolved.kernel
    parts: list[str | Path] = [kind, RECIPE, " ".join(kernel.kernel_suites)]
    if kind == "userland":
        parts.append(kernel.userland_arch)
    elif kind != "source":
        parts += [resolved.release, resolved.version, *filter(None, [kernel.kernel_own_key])]
    if kind in ("userland", *HOSTS):
        parts.append("" if anyones else ssh_key().with_suffix(".pub").read_text())
    if kind in PACKED:
        parts += [repr((*initrd.recipe(kernel), UNWANTED)), *_board(kernel)]
    if kind in ON_USERLAND:
        parts.append(image_path(_userland(resolved, kind), "userland", anyones=anyones).name)
    if kind == "machine":
        parts.append(repr((LOADERS, LOADER_FILES)))
    work = [REPOSITORY / "roles" / role / part for role in _roles(kernel, kind) for part in ROLE_PARTS]
    return digest(*parts, *_more_tools(resolved, kind), REPOSITORY / "playbooks/root.yml", *filter(Path.is_dir, work))


def _userland(resolved: Resolved, kind: Kind) -> Resolved:
    """Which userland an image begins as: that of all kernels of its release, whatever backports they have.

    Its architecture is the kernel's where it boots, and this machine's where it builds.
    """
    arch = resolved.kernel.userland_arch if kind == "boot" else native_arch()
    suites = tuple(suite for suite in resolved.kernel.kernel_suites if not suite.endswith(BACKPORTS))
    news = {"kernel_suites": suites, "kernel_arch": arch}
    return resolved.model_copy(update={"kernel": resolved.kernel.model_copy(update=news)})


def _roles(kernel: Kernel, kind: Kind) -> tuple[str, ...]:
    return CROSS_ROLES if kind == "build" and kernel.foreign else ROLES[kind]


def _board(kernel: Kernel) -> tuple[str, ...]:
    """What else of a machine's data decides what its boot image holds, where it is not as on most machines."""
    usual = Kernel.model_fields
    names = ("vm_dtb", "vm_root_size")
    return tuple(f"{name}={getattr(kernel, name)}" for name in names if getattr(kernel, name) != usual[name].default)


def _base(kernel: Kernel) -> Kernel:
    """The first of the inventory with the same packages: all machines that run these share its build root."""

    def packages(of: Kernel) -> dict[str, object]:
        return {name: value for name, value in of if name.startswith("kernel_")}

    return next((each for each in load_inventory().values() if packages(each) == packages(kernel)), kernel)


def image_path(resolved: Resolved, kind: Kind, *, anyones: bool = False) -> Path:
    """Where an image is, or would be. `anyones`: see `image_key`."""
    kernel = _base(resolved.kernel) if kind == "build" else resolved.kernel
    shared = {"userland": kernel.userland_arch, "source": kernel.kernel_source}
    name = f"{kernel.distribution}-{shared[kind]}" if kind in shared else kernel.id
    key = image_key(resolved.model_copy(update={"kernel": kernel}), kind, anyones=anyones)
    return cache_dir() / "images" / f"{name}-{kind}-{key}"


def made_as(image: Path) -> str:
    """The name by which what is built in an image is known: its own, or the one that it has in the lab that has made it."""
    kept = image / MADE_AS
    return kept.read_text() if kept.is_file() else image.name


def build_root(resolved: Resolved) -> Path:
    """The build root of a kernel (a folder to be used as `/`), made when it is not cached."""
    return _image(resolved, "build") / "root"


def boot_image(resolved: Resolved, kind: Literal["boot"] | Host = "boot") -> BootImage:
    """The boot image of a kernel, made when it is not cached."""
    return BootImage(_image(resolved, kind))


def ssh_key() -> Path:
    """The lab's own SSH key for its VMs, made once, 0600."""
    path = cache_dir() / "ssh" / "id_ed25519"
    with locked("ssh-key", wait=30, busy="another kmodlab is making the SSH key; try again"):
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kmodlab", "-f", str(path)])
    return path


def _image(resolved: Resolved, kind: Kind) -> Path:
    if resolved.kernel.foreign and kind in ("build", *HOSTS):
        # Also where it is cached: a build root may hold a modpost of that architecture, and a reboot forgets what runs it.
        qemu_user.ensure(DEBIAN_ARCH[resolved.kernel.userland_arch])
    target = image_path(resolved, kind)
    if target.exists():
        return target
    _prepare(resolved, kind)
    with locked(target.name, wait=1800, busy=f"another kmodlab has been making {target.name} for half an hour"):
        if not target.exists():
            if os.geteuid() == 0:
                _make(resolved, kind, target)
            else:
                _make_by_sudo(resolved, kind)
    return target


def _prepare(resolved: Resolved, kind: Kind) -> None:
    """See to what an image is made of."""
    kernel = resolved.kernel
    if kind in ON_USERLAND or (kind == "userland" and kernel.foreign):
        _image(_userland(resolved, kind), "userland")
    if kernel.kernel_source and kind in KERNEL_IN and not source_kernel.packages_path(resolved).exists():
        source_kernel.build_packages(resolved, _image(resolved, "source") / "root")


def _make(resolved: Resolved, kind: Kind, target: Path) -> None:
    with filled(target) as folder:
        if kind == "boot":
            _unpack_boot_root(resolved, folder)
        elif kind == "userland" and resolved.kernel.foreign:
            userland.transplant(_userland_root(resolved, kind), resolved, folder / "root")
        else:
            _bootstrap(resolved, kind, folder)
        if kind in PACKED:
            _pack(resolved, folder)


def _userland_root(resolved: Resolved, kind: Kind) -> Path:
    return image_path(_userland(resolved, kind), "userland") / "root"


def _unpack_boot_root(resolved: Resolved, folder: Path) -> None:
    """The userland and a kernel's packages: nothing that their scripts would do is needed, but the list of modules."""
    root = folder / "root"
    userland.copy(_userland_root(resolved, "boot"), root)
    if not (root / "lib").is_symlink():  # bullseye: modules are in /lib, where newer depmods do not look
        (root / "usr/lib/modules").symlink_to("../../lib/modules")
    if resolved.kernel.packaged_here:
        packages = sorted(source_kernel.packages_path(resolved).glob("linux-image-*.deb"))
    else:
        packages = archive.download_kernel(resolved, folder / "debs")
    userland.unpack(packages, root)
    shutil.rmtree(folder / "debs", ignore_errors=True)
    _run(["depmod", "--basedir", str(root), resolved.release])


class _Wanted(BaseModel):
    """What root is told: what is to be made, and those of the user's variables that say where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: dict[str, str]
    resolved: Resolved


def _make_by_sudo(resolved: Resolved, kind: Kind) -> None:
    """A root's files have many owners and its roles run in a chroot: both need root, and nothing else of the lab does."""
    # A line of few words, which a rule of sudo's can name. Nothing of the folder it is typed in, or of the environment, is run.
    command = ["sudo", "-n", sys.executable, "-I", "-m", "kmodlab.debian.roots", kind]
    wanted = _Wanted(environment={name: os.environ[name] for name in PASSED_ON if name in os.environ}, resolved=resolved)
    try:
        answer = subprocess.run(
            command, input=wanted.model_dump_json(), capture_output=True, text=True, check=False, timeout=LONG
        )
    except FileNotFoundError as problem:
        raise LabError("making images needs root, and there is no sudo: run make as root once") from problem
    if answer.returncode:
        said = answer.stderr.strip().splitlines()[-1:] or ["no word"]
        raise LabError(f"making images needs root: `sudo -n` says: {said[0]}", hint="allow it, or run make as root once")


def main() -> None:
    """Make one image, as root on behalf of a user: `python -m kmodlab.debian.roots KIND` with JSON of `_Wanted` on standard
    input.
    """
    wanted, kind = _Wanted.model_validate_json(sys.stdin.read()), next(each for each in ROLES if each == sys.argv[1])
    os.environ.update({name: wanted.environment[name] for name in PASSED_ON if name in wanted.environment})
    resolved = wanted.resolved
    target = image_path(resolved, kind)
    try:
        _make(resolved, kind, target)
        _give_back((target, *(target.iterdir() if kind in PACKED else ())))
    except LabError as problem:
        sys.exit(str(problem))
    finally:
        # apt, run by root, may have made or taken folders that the user's own apt needs next time.
        _give_back((cache_dir() / "apt").rglob("*"))


def _give_back(paths: Iterable[Path]) -> None:
    for path in paths:
        os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]), follow_symlinks=False)


def _bootstrap(resolved: Resolved, kind: Kind, folder: Path) -> None:
    """mmdebstrap makes the release's base, or opens a copy of its userland; the roles, run in its chroot, make the rest."""
    root = folder / "root"
    base = ["--variant=apt", "--include=python3,python3-apt"]
    if kind in ON_USERLAND:
        base = ["--variant=custom", "--skip=check/empty", *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT)]
        _open_userland(_userland_root(resolved, kind), root)
    variables = folder / "vars.json"
    variables.write_text(json.dumps({**_role_variables(resolved, kind), "ansible_host": str(root)}))
    ansible = Path(sys.executable).parent / "ansible-playbook"
    playbook = REPOSITORY / "playbooks/root.yml"
    provision = [str(ansible), "-i", "root,", "-c", "kmodlab.lab.chroot", str(playbook), "-e", f"@{variables}"]
    hook = shlex.join(["env", *(f"{name}={value}" for name, value in ansible_settings().items()), *provision])
    arch = native_arch() if kind in ("build", "source") else resolved.kernel.userland_arch
    lists = shlex.quote(str(archive.lists(resolved, arch)))
    # Whatever is mounted for a root vanishes with its maker, also one that is killed: root gets a mount namespace of its own for
    # it (mmdebstrap makes one for everybody else).
    command = [
        *(("unshare", "--mount", "--propagation", "private") if os.geteuid() == 0 else ()),
        "mmdebstrap",
        *base,
        f"--architectures={DEBIAN_ARCH[arch]}",
        '--aptopt=Acquire::Languages "none"',
        # Nobody is asked anything, so no package is searched for questions: with an emulated root that is a minute.
        "--aptopt=#clear DPkg::Pre-Install-Pkgs",
        '--aptopt=Acquire::Retries "3"',
        *(f"--aptopt={setting}" for setting in (*apt_settings(), *SECURE)),
        # What was fetched to resolve the kernel is not fetched and unpacked again where the archive says that it is still so.
        f'--setup-hook=cp --archive {lists}/. "$1/var/lib/apt/lists"',
        "--dpkgopt=force-unsafe-io",
        *([f"--customize-hook={_own_packages(resolved)}"] if resolved.kernel.packaged_here and kind in KERNEL_IN else []),
        f"--customize-hook={hook}",
        resolved.kernel.distribution,
        str(root),
        *resolved.sources,
    ]
    _run(
        command,
        what=f"kernel {resolved.kernel.id}: the {kind} root",
        log=cache_dir() / "logs" / f"{resolved.kernel.id}-{kind}.log",
    )
    variables.unlink()


def _open_userland(native: Path, root: Path) -> None:
    """Copy a userland for mmdebstrap and the roles to go on with. Its devices and settings mmdebstrap makes again."""
    userland.copy(native, root)
    shutil.rmtree(root / "dev")
    for path in (root / "etc/apt/sources.list", root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        path.unlink()
    for key in (root / "etc/ssh").glob("ssh_host_*_key"):
        key.unlink()  # other people's Makefiles run here


def _own_packages(resolved: Resolved) -> str:
    """The hook that brings the packages of a kernel of the lab's own where the roles' apt takes them from."""
    inside, line = "/var/cache/kmodlab", "deb [trusted=yes] file:/var/cache/kmodlab ./"
    return (
        f'mkdir -p "$1{inside}" && cp {shlex.quote(str(source_kernel.packages_path(resolved)))}/* "$1{inside}" && '
        f'echo "{line}" >"$1/etc/apt/sources.list.d/kmodlab.list" && chroot "$1" apt-get -q update'
    )


def _role_variables(resolved: Resolved, kind: Kind) -> dict[str, object]:
    release, version = resolved.release, resolved.version
    # Packages of a backports suite are taken only when asked for, and so is what they need of it.
    backports = next((suite for suite in resolved.kernel.kernel_suites if suite.endswith(BACKPORTS)), "")
    return {
        "root_roles": _roles(resolved.kernel, kind),
        "cross_toolchain_arch": DEBIAN_ARCH[resolved.kernel.userland_arch],
        "cross_toolchain_release": release,
        "cross_toolchain_version": version,
        "kernel_headers_release": release,
        "kernel_headers_packages": [f"linux-headers-{release}={version}"],
        "kernel_headers_default_release": backports,
        "kernel_image_default_release": backports,
        "kernel_image_release": release,
        "kernel_image_packages": [f"linux-image-{release}={version}", *_loaders(resolved.kernel, kind)],
        "build_toolchain_extra_packages": _more_tools(resolved, kind),
        "guest_base_authorized_key": ssh_key().with_suffix(".pub").read_text().strip(),
    }


def _more_tools(resolved: Resolved, kind: Kind) -> list[str]:
    """What a kernel of the lab's own takes to build, or to build modules for, beside what all take."""
    if kind == "source":
        return [*source_kernel.TOOLS, resolved.source_package]
    own = source_kernel.MODULE_TOOLS if resolved.kernel.packaged_here and kind in ("build", *HOSTS) else ()
    return [*own, *(resolved.tools if kind == "build" else ())]


def _loaders(kernel: Kernel, kind: Kind) -> tuple[str, ...]:
    return LOADERS if kind == "machine" and kernel.kernel_arch == "x86_64" else ()


def _pack(resolved: Resolved, folder: Path) -> None:
    root, release = folder / "root", resolved.release
    shutil.copyfile(_vmlinuz(root, release), folder / "vmlinuz")
    if resolved.kernel.uml:
        (folder / "vmlinuz").chmod(0o755)
    shutil.copyfile(root / "etc/ssh/ssh_host_ed25519_key.pub", folder / "host_key.pub")
    for path, name in LOADER_FILES.items():
        if (root / path).exists():
            (folder / "loader" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, folder / "loader" / name)
    exclude = [f"--exclude-regex=^{path}/.+" for path in UNWANTED]
    image = BootImage(folder)
    _run(["mkfs.erofs", "--quiet", "-T0", *exclude, str(image.root), str(root)])
    if (size := resolved.kernel.vm_root_size << 20) > image.root.stat().st_size:
        os.truncate(image.root, size)
    if resolved.kernel.vm_dtb:
        shutil.copyfile(_device_tree(root, resolved), image.dtb)
    initrd.pack(root, resolved, folder)
    shutil.rmtree(root)


def _device_tree(root: Path, resolved: Resolved) -> Path:
    """Where Debian's packages put a board's device tree: in one folder, or one for each maker."""
    folder = root / "usr/lib" / f"linux-image-{resolved.release}"
    found = next(folder.rglob(resolved.kernel.vm_dtb), None)
    if not found:
        raise LabError(f"kernel {resolved.kernel.id}: its packages hold no device tree {resolved.kernel.vm_dtb} (vm_dtb)")
    return found


def _vmlinuz(root: Path, release: str) -> Path:
    """Where Debian's packages put the kernel: in /boot, and since 7.3 beside its modules."""
    for path in (root / "boot" / f"vmlinuz-{release}", root / "usr/lib/modules" / release / "vmlinuz"):
        if path.exists():
            return path
    raise LabError(f"kernel {release}: its packages hold no vmlinuz", hint="report this as a bug of kmodlab")


def _run(command: list[str], *, what: str = "", log: Path | None = None) -> None:
    answer = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        timeout=LONG,
    )
    output = answer.stdout + answer.stderr
    if log:
        log.parent.mkdir(exist_ok=True)
        log.write_text(output)
    if answer.returncode:
        raise LabError(_reason(what or command[0], output, log))


def _reason(what: str, output: str, log: Path | None) -> str:
    """One line out of much: disk and network by their names, else the first error that the tool itself names."""
    if "No space left on device" in output:
        return f"{what} could not be made: no space left on device; free some, or set XDG_CACHE_HOME to a larger disk"
    errors = [line for line in output.splitlines() if line.startswith(("E:", "fatal:", "[ERROR]"))] or output.splitlines()[-1:]
    return f"{what} could not be made: {errors[0] if errors else 'no output'}{f' (all of it: {log})' if log else ''}"


if __name__ == "__main__":
    main()
