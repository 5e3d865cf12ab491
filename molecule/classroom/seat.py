"""A seat before the class: `seat.py FOLDER KERNEL` starts it, with an archive, a student, and one with ideas of her own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

from kmodlab.debian.archive import Resolved, download, resolve
from kmodlab.ground.errors import LabError
from kmodlab.machine.debian_host import machine
from kmodlab.plan.kernels import default_fleet, load_inventory, select

LACKING = ("sudo", "linux-headers-amd64={version}")
"""What the lab's machine has not: the first as everybody has it who is not root, the second for the role to install."""
STUDENTS = """
set -e
tar -x -C /srv
dpkg --install /srv/archive/sudo_*.deb
echo '{source}' >/etc/apt/sources.list
apt-get -q update >/dev/null
for user in alice mallory; do useradd --create-home --shell /bin/bash $user; done
ln -s /etc /home/mallory/kmodlab-examples
chown --no-dereference mallory: /home/mallory/kmodlab-examples
"""


SOURCES = {"6.12-x86_64": "deb [trusted=yes] file:/srv/archive ./"}
"""What apt knows there by itself; the other seat is told by the role's variable."""


def main(folder: Path, kernel: str) -> None:
    vm = machine(kernel, folder)
    vm.start()
    shutil.copyfile(vm.ssh_config, folder.parent / f"ssh_config-{kernel}")
    command = ["ssh", "-F", str(vm.ssh_config), vm.kernel.id, "--", STUDENTS.replace("{source}", SOURCES.get(kernel, ""))]
    answer = subprocess.run(command, input=_archive(kernel, folder / "archive"), capture_output=True, timeout=120, check=False)
    if answer.returncode:
        raise LabError(f"the seat {kernel}: {answer.stderr.decode(errors='replace').strip()}")


def _archive(word: str, folder: Path) -> bytes:
    """An archive of the lacking packages, in a tar."""
    (kernel,) = select([word], load_inventory(), default_fleet())
    resolved = resolve([kernel])[kernel.id]
    if not isinstance(resolved, Resolved):
        raise resolved
    download(resolved, [package.format(version=resolved.version) for package in LACKING], folder)
    scan = ["dpkg-scanpackages", "--multiversion", "."]
    index = subprocess.run(scan, cwd=folder, capture_output=True, check=True, timeout=60).stdout
    (folder / "Packages").write_bytes(index)
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, arcname="archive")
    return buffer.getvalue()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except LabError as problem:
        sys.exit(f"classroom: {problem}")
