"""A machine that is to have its nights: `host.py FOLDER` starts it, with all that it would have from the network.

Its nights are as small as emulation allows: User-Mode Linux, a kernel that is a program and so is not emulated within emulation,
and one module. What takes a quarter of an hour to make (the kernel, its compiler's root) is brought on a second drive, as a cache
that is a day old would have it; the module is built, loaded and judged in there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from kmodlab.debian.archive import Resolved, download, mirrors, needed, resolve
from kmodlab.debian.roots import boot_image, build_root
from kmodlab.debian.source_kernel import packages_path
from kmodlab.ground.cache import REPOSITORY, cache_dir, digest
from kmodlab.ground.errors import LabError
from kmodlab.machine.debian_host import machine
from kmodlab.machine.vm import Vm
from kmodlab.plan.kernels import Kernel, default_fleet, load_inventory, select

HOST, NIGHT = "6.12-x86_64", "um-6.12"
"""What the machine runs, and what its nights are about."""
MEMORY = 4096
PYTHON = {"python_version": "3.13", "python_full_version": "3.13.5"}
"""Debian 13's."""
PLATFORMS = ("any", *(f"manylinux{each}_x86_64" for each in ("2014", "_2_28", "_2_34")))
INBOX = ("aiosmtpd", "attrs", "atpublic")
"""The server that takes the nights' mails, and what it needs."""
ROLE = REPOSITORY / "roles/nightly_job"
EMULATORS = re.compile(r"qemu|ovmf|arch-test|sbsigntool")
"""What User-Mode Linux does without, of the role's packages."""
READY = """
set -e
tar -x -C /srv
echo 'deb [trusted=yes] file:/srv/archive ./' >/etc/apt/sources.list
apt-get -q update >/dev/null
printf '[global]\\nno-index = true\\nfind-links = /srv/wheels\\n' >/etc/pip.conf
mkdir -p /srv/cache
mount -t erofs -o ro /dev/vdb /srv/cache
systemctl --quiet is-system-running --wait
PYTHONPATH=$(echo /srv/inbox/*.whl | tr ' ' :)
systemd-run --quiet --unit=inbox --setenv=PYTHONPATH=$PYTHONPATH \\
	/usr/bin/python3 -m aiosmtpd --nosetuid --listen 127.0.0.1:2525 --class aiosmtpd.handlers.Mailbox /srv/mail
"""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    host, night = _resolved(HOST), _resolved(NIGHT)
    disk = _disk(night, folder)
    vm = machine(HOST, folder, "systemd", memory=MEMORY, disk=disk)
    vm.start()
    usual = yaml.safe_load((ROLE / "defaults/main.yml").read_text())["nightly_job_packages"]
    packages = [name for name in usual if not EMULATORS.search(name)]
    tools = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__nightly_job_tools"]
    installed = set(_ssh(vm, "dpkg-query -W -f '${Package}=${Version}\\n'").decode().split())
    lacking = [each for each in needed(host, [*packages, *tools, "sudo"]) if each not in installed]
    _fresh(folder / "archive")
    download(host, lacking, folder / "archive")
    index = subprocess.run(["dpkg-scanpackages", "."], cwd=folder / "archive", capture_output=True, check=True, timeout=60).stdout
    (folder / "archive/Packages").write_bytes(index)
    _wheels(ROLE / "files/requirements.lock", folder / "wheels")
    _wheels(REPOSITORY / "requirements.lock", folder / "inbox", INBOX)
    _module(folder / "mymod")
    _ssh(vm, READY, _packed(folder, "archive", "wheels", "inbox", "mymod"))
    main_mirror, security = mirrors()
    environment = {"KMODLAB_MIRROR": main_mirror, "KMODLAB_SECURITY_MIRROR": security}
    (folder / "vars.json").write_text(json.dumps({"nightly_job_environment": environment, "nightly_job_packages": packages}))


def _resolved(word: str) -> Resolved:
    found = resolve([_kernel(word)])[word]
    if not isinstance(found, Resolved):
        raise found
    return found


def _kernel(word: str) -> Kernel:
    (kernel,) = select([word], load_inventory(), default_fleet())
    return kernel


def _disk(night: Resolved, folder: Path) -> Path:
    """A drive with those caches that a night would else make, made where they are missing."""
    held = [build_root(night).parent, boot_image(night).folder, packages_path(night)]
    # The throwaway key that modules are signed with, too: making one takes minutes in there.
    held += [path for path in (cache_dir() / "ssh", cache_dir() / "keys") if path.exists()]
    held += (cache_dir() / "resolved").glob(f"{NIGHT}-*.json")
    target = folder / f"cache-{digest(*(path.name for path in held))}.erofs"
    if not target.exists():
        tree = _fresh(folder / "cache")
        for path in held:
            copied = tree / path.relative_to(cache_dir())
            copied.parent.mkdir(exist_ok=True)
            subprocess.run(["cp", "--archive", "--reflink=auto", path, copied], check=True, timeout=600)
        subprocess.run(["mkfs.erofs", "--quiet", target, tree], check=True, timeout=600, capture_output=True)
        shutil.rmtree(tree)
    return target


def _wheels(lock: Path, folder: Path, names: tuple[str, ...] = ()) -> None:
    """Bring what a lock names, or these of it, for the Python of the machine."""
    blocks = re.findall(r"^(\S.*?) \\\n((?:    --hash=.*\n)+)", lock.read_text(), re.MULTILINE)
    wanted = []
    for line, hashes in blocks:
        each = Requirement(line)
        if (not names or each.name in names) and (not each.marker or each.marker.evaluate(PYTHON)):
            wanted.append(f"{each.name}{each.specifier} {' '.join(hashes.replace(chr(92), '').split())}")
    _fresh(folder)
    (folder.parent / f"{folder.name}.txt").write_text("\n".join(wanted))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += [
        "--only-binary=:all:",
        "--python-version",
        PYTHON["python_version"],
        *(f"--platform={each}" for each in PLATFORMS),
    ]
    subprocess.run([*command, "--dest", folder, "-r", folder.parent / f"{folder.name}.txt"], check=True, timeout=600)


def _module(folder: Path) -> None:
    """The tree whose nights they are: one of the book's modules, and rules for it."""
    _fresh(folder)
    shutil.copy(REPOSITORY / "examples/hello-1.c", folder)
    (folder / "Makefile").write_text("obj-m := hello-1.o\n")


def _packed(folder: Path, *names: str) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            tar.add(folder / name, arcname=name)
    return buffer.getvalue()


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _ssh(vm: Vm, script: str, stdin: bytes = b"") -> bytes:
    command = ["ssh", "-F", str(vm.ssh_config), vm.kernel.id, "--", script]
    answer = subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False)
    if answer.returncode:
        raise LabError(f"the machine: {answer.stderr.decode(errors='replace').strip()}")
    return answer.stdout


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except LabError as problem:
        sys.exit(f"nightly: {problem}")
