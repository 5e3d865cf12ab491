"""How often each line of a module has run, as a kernel with CONFIG_GCOV_KERNEL keeps it, of modules that have gone, too.

(Documentation/dev-tools/gcov.rst.)
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64

from kmodlab.guest.shell import Guest, GuestLostError

FOLDER = "/sys/kernel/debug/gcov"
READ = f"""
cd {FOLDER} || exit 1
find . -name '*.gcda' -type f | while IFS= read -r file; do
    printf '%s\\n' "$file"
    base64 -w0 "$file" && echo
done"""
READ_LIMIT = 20.0
"""Seconds."""


def offered(guest: Guest) -> bool:
    """Whether the target's kernel can tell."""
    return guest.sh(f"test -f {FOLDER}/reset", check=False).rc == 0


def reset(guest: Guest) -> None:
    """Begin to count anew."""
    guest.sh(f"echo 1 >{FOLDER}/reset")


def counts(guest: Guest) -> dict[str, bytes]:
    """What was counted since: gcov's data of each object, by the place where it was made, `mnt/chardev.gcda`.

    GuestLostError where it cannot be read.
    """
    lines = guest.sh(READ, timeout=READ_LIMIT).stdout.splitlines()
    try:
        return {
            path.removeprefix("./"): b64decode(data, validate=True) for path, data in zip(lines[::2], lines[1::2], strict=True)
        }
    except (NotBase64, ValueError) as problem:
        raise GuestLostError(f"the guest's answer cannot be read: {problem}") from problem
