"""Memory that nothing points to any more, as a kernel with CONFIG_DEBUG_KMEMLEAK finds it when it is asked."""

from __future__ import annotations

import re

from kmodlab.guest.shell import Guest

FILE = "/sys/kernel/debug/kmemleak"
SCAN_LIMIT = 60.0
"""Seconds that two scans and the pause between them may take."""
SCANS = f"""
echo scan >{FILE} || exit 1
# An object younger than five seconds is in no report, or as the lab's own kernel is told; and what was reported must look the
# same in two scans.
sleep $(sed -n 's/.*\\<kmodlab.kmemleak_age=\\([0-9.]*\\).*/\\1/p;t;s/.*/5/p' /proc/cmdline)
echo scan >{FILE} || exit 1
cat {FILE}"""
OBJECT = re.compile(r'^unreferenced object 0x[0-9a-f]+ \(size (\d+)\):\n\s+comm "([^"]*)"', re.MULTILINE)


def offered(guest: Guest) -> bool:
    """Whether the target's kernel can tell."""
    return guest.sh(f"test -f {FILE}", check=False).rc == 0


def forget(guest: Guest) -> None:
    """Have later scans tell of later leaks only."""
    guest.sh(f"echo clear >{FILE}")


def scan(guest: Guest) -> str:
    """The kernel's report on what was lost since the last forget(), empty where that is nothing; takes as long as an object must
    be old.

    AssertionError where the kernel does not scan: it has switched the detector off, and can find nothing any more.
    """
    return guest.sh(SCANS, timeout=SCAN_LIMIT).stdout


def summary(report: str) -> str:
    """One line on a report: how much, and who asked for the first of it."""
    found = [(int(size), comm) for size, comm in OBJECT.findall(report)]
    if not found:
        return f"leak: {report.strip().splitlines()[0]}"
    total = sum(size for size, _ in found)
    size, comm = found[0]
    return f"leak: nothing points to {total} bytes in {len(found)} objects any more; the first, of {size}, was {comm}'s"
