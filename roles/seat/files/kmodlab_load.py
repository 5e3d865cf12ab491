#!/usr/bin/python3 -I
"""Load a module that the caller has built, signed where this seat has a key: `sudo kmodlab-load NAME.ko [PARAMETER=VALUE ...]`.

Students may run it by sudo, so it believes nothing of theirs. The file is opened with the caller's own rights, must be a regular
file that the caller owns, and is read once; what was read is signed and loaded, from a folder that nobody else can enter. So no
link, no file changed meanwhile and no file of somebody else's gets anywhere. The signed module is removed: nobody takes it away.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEYS = Path("/var/lib/kmodlab/seat")
"""private.key and certificate.der, which the role makes where Secure Boot is on. Root alone may enter."""
LARGEST = 64 << 20
"""Bytes. A student's module has some hundred thousand."""
READ_SECONDS = 30
"""How long a file system (of the student's own, perhaps) may take to hand the file out."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,55}\.ko")
PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(=[^\x00-\x1f\x7f]*)?")
ELF = b"\x7fELF"
RELOCATABLE = ((1, 0), (0, 1))
"""Bytes 16 and 17 of an object file (ELF specification, e_type ET_REL), in either order."""
PROGRAMS = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class RefusedError(Exception):
    """What is asked for is not done. Its text says why, in one line."""


def main(arguments: list[str]) -> int:
    """The exit status: 0 loaded, 1 the kernel or sign-file refused, 2 asked for wrongly."""
    try:
        if os.geteuid() != 0:
            raise RefusedError(f"it takes root: sudo kmodlab-load {' '.join(arguments) or 'NAME.ko'}")
        path, parameters = asked(arguments)
        return load(path.name, content(path, int(os.environ.get("SUDO_UID", "0"))), parameters)
    except RefusedError as problem:
        print(f"kmodlab-load: {problem}", file=sys.stderr)
        return 2


def asked(arguments: list[str]) -> tuple[Path, list[str]]:
    """The file and the module's parameters. RefusedError for anything else, options among it."""
    if not arguments or not NAME.fullmatch(Path(arguments[0]).name):
        raise RefusedError("say which module: sudo kmodlab-load NAME.ko [PARAMETER=VALUE ...]; NAME is letters, digits, _ and -")
    for each in arguments[1:]:
        if not PARAMETER.fullmatch(each):
            raise RefusedError(f"{each!r} is no parameter of a module: PARAMETER=VALUE")
    return Path(arguments[0]), arguments[1:]


def content(path: Path, owner: int) -> bytes:
    """What a file of the caller's holds, read as the caller. RefusedError for what is not theirs, or is no module."""
    try:
        with caller(owner), os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise RefusedError(f"{path} is no regular file")
            if found.st_uid != owner:
                raise RefusedError(f"{path} is not yours: it belongs to user {found.st_uid}; build your own")
            read = file.read(LARGEST + 1)
    except OSError as problem:
        raise RefusedError(f"{path}: {problem.strerror or problem}") from problem
    if len(read) > LARGEST:
        raise RefusedError(f"{path} has more than {LARGEST >> 20} MiB")
    if not read.startswith(ELF) or tuple(read[16:18]) not in RELOCATABLE:
        raise RefusedError(f"{path} is no module as make builds it")
    return read


@contextmanager
def caller(uid: int) -> Iterator[None]:
    """Everything within happens with the rights of user `uid`, and within a time limit (TimeoutError, which is an OSError)."""

    def late(*_: object) -> None:
        raise TimeoutError(f"cannot be read within {READ_SECONDS} s")

    mine, groups = os.getegid(), os.getgroups()
    try:
        person = pwd.getpwuid(uid)
    except KeyError:
        raise RefusedError(f"there is no user {uid}") from None
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(READ_SECONDS)
    as_root = os.geteuid() == 0
    try:
        if as_root:
            os.setgroups(os.getgrouplist(person.pw_name, person.pw_gid))
            os.setegid(person.pw_gid)
            os.seteuid(uid)
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        if as_root:
            os.seteuid(0)
            os.setegid(mine)
            os.setgroups(groups)


def load(name: str, module: bytes, parameters: list[str]) -> int:
    """Sign where the seat has a key, and load. The exit status."""
    with tempfile.TemporaryDirectory(prefix="kmodlab-load-", dir="/run") as folder:  # 0700
        file = Path(folder) / name
        file.write_bytes(module)
        keyed = (KEYS / "private.key").exists()
        if keyed:
            tool = f"/lib/modules/{os.uname().release}/build/scripts/sign-file"
            try:
                command = [tool, "sha256", str(KEYS / "private.key"), str(KEYS / "certificate.der"), str(file)]
                subprocess.run(command, env=PROGRAMS, check=True)
            except (OSError, subprocess.CalledProcessError) as problem:
                raise RefusedError(f"this seat cannot sign: {problem}; tell your teacher") from problem
        answer = subprocess.run(["insmod", str(file), *parameters], env=PROGRAMS, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(answer.stderr)
    if answer.returncode and "Key was rejected" in answer.stderr:
        waiting = "this seat's key waits for a person at its keyboard, at its next boot" if keyed else "this seat has no key"
        print(f"kmodlab-load: the kernel takes signed modules only, and {waiting}; tell your teacher", file=sys.stderr)
    return 1 if answer.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
