"""A boot image's initramfs: busybox, and just the kernel's own modules that reach the root and what else the machine has."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from kmodlab.debian.archive import Resolved
from kmodlab.ground.errors import LabError
from kmodlab.ground.process import SHORT
from kmodlab.plan.kernels import Kernel

ROOT_MODULES = ("erofs", "overlay")
"""What the initramfs needs to mount the root, beside what reaches its drive; those that a kernel has built in are left out."""
SOFT_MODULES = ("crc32c_generic",)
"""Asked for by libcrc32c (below erofs) through the crypto API, which no dependency file says; gone from newer kernels."""
INIT = """\
#!/bin/busybox sh
# Reach the root: a read-only EROFS below, memory above, so that a crash can corrupt nothing.
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t proc proc /proc
if /bin/busybox grep -q kmodlab.probe /proc/cmdline; then
	echo "kmodlab: probe ok" >/dev/console
	exec /bin/busybox poweroff -f
fi
while read -r module; do
	/bin/busybox insmod "/modules/$module" || echo "kmodlab: insmod $module failed" >/dev/console
done </modules/order
tries=0
while [ ! -b @ROOT@ ] && [ $tries -lt 600 ]; do
	/bin/busybox usleep 50000
	tries=$((tries + 1))
done
/bin/busybox mount -t erofs -o ro @ROOT@ /lower &&
	/bin/busybox mount -t tmpfs -o mode=755 tmpfs /memory &&
	/bin/busybox mkdir /memory/upper /memory/work &&
	/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay /root &&
	/bin/busybox umount /dev /proc &&
@START@
echo "kmodlab: the root could not be mounted" >/dev/console
exec /bin/busybox poweroff -f
"""
START = "	exec /bin/busybox switch_root /root /usr/local/sbin/kmodlab-init"
"""What a machine with a network card goes on with."""
START_ON_LINE = """\
	/bin/busybox cp /um_init.sh /root/run/um_init.sh &&
	exec /bin/busybox switch_root /root /run/um_init.sh"""
"""What one goes on with that has a serial line instead."""
LINE_INIT = Path(__file__).with_name("um_init.sh")


def recipe(kernel: Kernel) -> tuple[object, ...]:
    """All that decides what an initramfs is, beside the kernel's packages."""
    line = (LINE_INIT.read_text(),) if kernel.uml else ()
    return (_init(kernel), _modules(kernel), SOFT_MODULES, *line)


def pack(root: Path, resolved: Resolved, folder: Path) -> None:
    """Make the file `initrd` in `folder`, of the files in `root`. LabError where a module is named that the kernel has not."""
    tree = folder / "initramfs"
    for name in ("bin", "dev", "proc", "lower", "memory", "root", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", tree / "bin/busybox")
    (tree / "init").write_text(_init(resolved.kernel))
    (tree / "init").chmod(0o755)
    if resolved.kernel.uml:
        shutil.copy(LINE_INIT, tree)
        (tree / LINE_INIT.name).chmod(0o755)
    order = []
    modules = root / "lib/modules" / resolved.release  # bullseye has no merged /usr
    soft = [name for name in SOFT_MODULES if next(modules.rglob(f"{name}.ko*"), None)]
    for path in _closure(modules, (*soft, *_modules(resolved.kernel))):
        name = path.name.split(".ko")[0] + ".ko"
        (tree / "modules" / name).write_bytes(_decompressed(path))
        order.append(name)
    (tree / "modules/order").write_text("".join(f"{name}\n" for name in order))
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "--reproducible"],
        cwd=tree,
        input=names.encode(),
        capture_output=True,
        check=True,
        timeout=SHORT,
    )
    (folder / "initrd").write_bytes(packed.stdout)
    shutil.rmtree(tree)


def _init(kernel: Kernel) -> str:
    return INIT.replace("@ROOT@", kernel.vm_root).replace("@START@", START_ON_LINE if kernel.uml else START)


def _modules(kernel: Kernel) -> tuple[str, ...]:
    """The initramfs' modules. The usual network cards' drivers are loaded by the root's own init."""
    network = kernel.vm_net_modules if kernel.vm_net_modules != Kernel.model_fields["vm_net_modules"].default else ()
    return (*kernel.vm_root_modules, *ROOT_MODULES, *network, *kernel.vm_more_modules)


def _closure(folder: Path, names: Iterable[str]) -> list[Path]:
    """The files of in-tree modules and all they depend on, in loading order; a name that is built in is left out.

    `folder` is /lib/modules/RELEASE. Raises LabError for a name that this kernel does not have at all.
    """
    depends: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        depends[path] = rest.split()
        by_name[_module_name(path)] = path
    builtin = {_module_name(line) for line in (folder / "modules.builtin").read_text().splitlines()}
    wanted: list[str] = []
    for name in names:
        if name in by_name:
            path = by_name[name]
            # modules.dep lists the nearest first, and all of them: reversed, it is a loading order.
            wanted += [each for each in (*reversed(depends[path]), path) if each not in wanted]
        elif name not in builtin:
            raise LabError(f"{folder.name} has no module {name}, neither as a file nor built in")
    return [folder / path for path in wanted]


def _module_name(path: str) -> str:
    return Path(path).name.split(".ko")[0].replace("-", "_")


def _decompressed(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True, timeout=SHORT).stdout
    return path.read_bytes()
