#!/usr/bin/python
"""Whether a machine is one on which students build and load kernel modules: tried, as one of them. Runs there, as root."""

from __future__ import annotations

DOCUMENTATION = """
module: seat_ready
short_description: Ask a machine whether a student can build and load kernel modules on it
description:
  - Looks at the kernel, its headers and its compiler, Secure Boot and the disk.
  - Builds, loads and unloads a module as a student.
  - Changes nothing. What it builds is in a folder of the student's that is removed again.
  - Never fails because of what it finds; RV(ready) and RV(checks) say it.
options:
  student:
    description: As whom the module is built and loaded.
    type: str
    required: true
  disk_mib:
    description: How much room the student's home has to have, in MiB.
    type: int
    default: 512
  limit:
    description: How many seconds building, loading and unloading may take.
    type: int
    default: 300
author: The kmodlab authors
"""

EXAMPLES = """
- name: Ask the seat
  kmodlab.lab.seat_ready:
    student: alice
  register: asked
"""

RETURN = """
ready:
  description: Whether all of it is well.
  type: bool
  returned: success
checks:
  description: What was looked at, each with C(check), C(ok), C(said), and C(mend), which is empty where all is well.
  type: list
  elements: dict
  returned: success
enrolment:
  description: What shim thinks of the seat's own key, V(none needed), V(no key), V(enrolled), V(pending) or V(lost).
  type: str
  returned: success
"""

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

MODULES = Path("/lib/modules")
EFI = Path("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
CERTIFICATE = Path("/var/lib/kmodlab/seat/certificate.der")
KEPT = ("/var/lib/systemd/pstore", "/sys/fs/pstore")
"""Where the words of a kernel that crashed are found after the next boot."""
FAULTS = {1: "forced load", 3: "forced unload", 4: "machine check", 5: "bad page", 7: "oops", 9: "warning", 14: "lockup"}
"""Bits of /proc/sys/kernel/tainted (Documentation/admin-guide/tainted-kernels.rst) that say that something went wrong."""
WORDS = re.compile(
    r"\bBUG: |\bWARNING: |\bOops\b|Call Trace:|general protection fault|Kernel panic|Unable to handle kernel"
    r"|soft lockup|hung_task|blocked for more than|refcount_t: |\b(UBSAN|KASAN|KFENCE|KCSAN): "
)
"""What the kernel says when something went wrong."""
SOURCE = """
#include <linux/init.h>
#include <linux/module.h>
static int __init ready_init(void) {{ pr_info("kmodlab_ready: {word}\\n"); return 0; }}
static void __exit ready_exit(void) {{ }}
module_init(ready_init);
module_exit(ready_exit);
MODULE_DESCRIPTION("Is this seat ready?");
MODULE_LICENSE("GPL");
"""
SCRIPT = """
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
cd "$work" || exit
printf '%s' "$SOURCE" >kmodlab_ready.c
echo 'obj-m := kmodlab_ready.o' >Makefile
echo @build
make -s -C "/lib/modules/$(uname -r)/build" M="$work" modules || exit
echo @load
sudo -n /usr/local/sbin/kmodlab-load kmodlab_ready.ko || exit
echo @unload
grep -q '^kmodlab_ready ' /proc/modules || exit
sudo -n rmmod kmodlab_ready || exit
echo @done
"""
MENDS = {
    "": "the student's temporary folder cannot be written; look at /tmp",
    "build": "see what make said; run the playbook without --tags ready to install what is missing",
    "load": "the sudo rule, the command kmodlab-load, or the kernel refused; run the playbook without --tags ready",
    "unload": "reboot the machine",
}
"""By the step that failed, what to do."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    check: str
    ok: bool
    said: str
    mend: str = ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "student": {"type": "str", "required": True},
            "disk_mib": {"type": "int", "default": 512},
            "limit": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    student = module.params["student"]
    if os.geteuid() != 0:
        module.fail_json(msg="it takes root to become a student: say become: true")
    try:
        home = pwd.getpwnam(student).pw_dir
    except KeyError:
        module.fail_json(msg=f"there is no user {student} on this machine")
    enrolment = enrolled()
    before = last_record()
    life = [] if module.check_mode else [loaded(student, module.params["limit"], enrolment)]
    checks = [kernel(), headers(), compiler(), *life, log(before), secure_boot(enrolment), disk(home, module.params["disk_mib"])]
    module.exit_json(
        changed=False, ready=all(each.ok for each in checks), checks=[asdict(each) for each in checks], enrolment=enrolment
    )


def kernel() -> Check:
    """Which one runs, and whether it has been well since it was started."""
    release, taint = os.uname().release, int(Path("/proc/sys/kernel/tainted").read_text())
    wrong = [word for bit, word in FAULTS.items() if taint >> bit & 1]
    if wrong:
        return Check(
            "kernel", False, f"{release}, which had: {', '.join(wrong)}", "reboot the machine; journalctl -k says what happened"
        )
    return Check("kernel", True, release)


def headers() -> Check:
    """Of the kernel that runs, and of those that a reboot may start."""
    running = os.uname().release
    installed = {path.parent.name for path in MODULES.glob("*/modules.dep")} | {running}
    lacking = sorted(each for each in installed if not (MODULES / each / "build/Makefile").exists())
    if running in lacking:
        return Check(
            "headers",
            False,
            f"none for {running}",
            "run the playbook; where the archive has a newer kernel only, upgrade and reboot",
        )
    if lacking:
        newest = f"none for {', '.join(lacking)}, which a reboot may start"
        return Check("headers", False, newest, "run the playbook: their meta package follows the kernel; or remove that kernel")
    return Check("headers", True, f"for {', '.join(sorted(installed))}")


def compiler() -> Check:
    """The one that the kernel was built with, and whether it is there."""
    config = MODULES / os.uname().release / "build/include/config/auto.conf"
    try:
        found = re.search(r'^CONFIG_CC_VERSION_TEXT="?(.*?)"?$', config.read_text(), re.M)
    except OSError:
        return Check("compiler", False, "unknown: there are no headers", "see headers")
    text = found[1] if found else ""
    name = re.search(r"\bgcc-\d+\b", text.split(" ")[0])
    program = name[0] if name else ("clang" if "clang" in text else "gcc")
    if not shutil.which(program):
        return Check("compiler", False, f"{program} is missing", "run the playbook without --tags ready")
    return Check("compiler", True, program)


def loaded(student: str, limit: int, enrolment: str) -> Check:
    """A module built, loaded and unloaded, by the student and with what they may."""
    word = secrets.token_hex(8)
    before = last_record()
    outcome = tried(student, SOURCE.format(word=word), limit)
    with contextlib.suppress(OSError):
        if re.search("^kmodlab_ready ", Path("/proc/modules").read_text(), re.M):
            subprocess.run(["rmmod", "kmodlab_ready"], stderr=subprocess.DEVNULL, check=False)
    steps = re.findall(r"^@(\w+)$", outcome, re.M)
    step = steps[-1] if steps else ""
    heard = any(word in text for _, text in records(before))
    if step == "done" and heard:
        return Check("module", True, f"built, loaded and unloaded by {student}")
    if step == "done":
        return Check("module", False, "loaded, but the kernel's log has no word of it", "look at dmesg")
    lines = [line for line in outcome.splitlines() if line.strip() and not line.startswith("@")]
    said = f"{step or 'begin'} failed: {lines[-1].strip()[:200] if lines else 'no word'}"
    waits = step == "load" and enrolment in ("pending", "lost")
    return Check("module", False, said, "see secure boot" if waits else MENDS.get(step, MENDS[""]))


def tried(student: str, source: str, limit: int) -> str:
    """What the student's shell said. All that it started is ended at the limit."""
    clean = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "SOURCE": source, "HOME": "/"}
    command = ["runuser", "-u", student, "--", "/bin/sh", "-c", SCRIPT]
    with subprocess.Popen(
        command,
        env=clean,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as shell:
        try:
            said = shell.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            said = shell.communicate()[0] + f"\nit took more than {limit} s\n".encode()
    return said.decode(errors="replace")


def log(before: int) -> Check:
    """What the kernel said meanwhile, and whether it left words of a crash."""
    bad = [text for _, text in records(before) if WORDS.search(text)]
    if bad:
        return Check(
            "log", False, bad[0][:200], "reboot the machine; if it comes again, the hardware or a module of its own is at fault"
        )
    kept = [str(path) for folder in KEPT for path in sorted(Path(folder).glob("*"))[:1]]
    return Check("log", True, f"clean; words of an earlier crash are in {kept[0]}" if kept else "clean")


def records(after: int) -> list[tuple[int, str]]:
    """The kernel's records behind number `after`: number and text (Documentation/ABI/testing/dev-kmsg)."""
    found = []
    # It ends with BlockingIOError, where there is no more.
    with contextlib.suppress(OSError), open("/dev/kmsg", "rb", buffering=0, opener=_at_once) as log:
        while True:
            try:
                record = os.read(log.fileno(), 8192).decode(errors="replace")
            except BrokenPipeError:  # this one was overwritten meanwhile
                continue
            number = int(record.split(",", 2)[1])
            if number > after:
                found.append((number, record.partition(";")[2].splitlines()[0]))
    return found


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def last_record() -> int:
    return max((number for number, _ in records(-1)), default=-1)


def enforced() -> bool:
    """Whether the firmware has Secure Boot on."""
    try:
        return EFI.read_bytes()[4:5] == b"\x01"
    except OSError:
        return False


def enrolled() -> str:
    """What shim thinks of the seat's key."""
    if not enforced():
        return "none needed"
    if not CERTIFICATE.exists():
        return "no key"
    try:
        said = subprocess.run(["mokutil", "--test-key", CERTIFICATE], capture_output=True, text=True, check=False).stdout
    except OSError:
        return "lost"
    if "enrollment request" in said:
        return "pending"
    return "enrolled" if "already enrolled" in said else "lost"


def secure_boot(enrolment: str) -> Check:
    states: dict[str, Callable[[], Check]] = {
        "none needed": lambda: Check("secure boot", True, "off"),
        "enrolled": lambda: Check("secure boot", True, "on, and this seat's key is trusted"),
        "no key": lambda: Check("secure boot", False, "on, and this seat has no key", "run the playbook without --tags ready"),
        "pending": lambda: Check(
            "secure boot",
            False,
            "on, and this seat's key waits for a person",
            'reboot it, press a key at "Press any key to perform MOK management", then Enroll MOK, Continue, Yes, password',
        ),
        "lost": lambda: Check(
            "secure boot",
            False,
            "on, and the request to trust this seat's key is gone",
            "run the playbook without --tags ready: it asks anew",
        ),
    }
    return states[enrolment]()


def disk(home: str, wanted: int) -> Check:
    try:
        free = shutil.disk_usage(home).free >> 20
    except OSError as problem:
        return Check("disk", False, f"{home}: {problem.strerror}", "give the student a home")
    said = f"{free} MiB free in {home}"
    return Check("disk", free >= wanted, said, "" if free >= wanted else f"make room: {wanted} MiB are wanted")


if __name__ == "__main__":
    main()
