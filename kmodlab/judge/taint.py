"""What /proc/sys/kernel/tainted says, and which of it a module must not bring about.

Bits and letters are those of the kernel's Documentation/admin-guide/tainted-kernels.rst, 0 to 19 as of 6.15.
A taint stays until the next boot, so only the difference between two readings says anything.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taint:
    """One bit."""

    bit: int
    letter: str
    """As an oops shows it."""
    name: str
    meaning: str
    fault: str = ""
    """Why a module fails that brings it about; empty where that is no fault."""

    @property
    def value(self) -> int:
        """As a number in /proc/sys/kernel/tainted."""
        return 1 << self.bit


_UNEXPECTED = "nothing that the lab does sets it"

PROPRIETARY = Taint(0, "P", "proprietary", "a proprietary module was loaded", "it declares no GPL licence")
UNSIGNED = Taint(13, "E", "unsigned", "an unsigned module was loaded")

# Without a fault: I and T are about the machine and the build, O is what the lab is for, X has a meaning of
# the distributor's own, and N comes from a module that honestly says it is a test.
TAINTS = (
    PROPRIETARY,
    Taint(1, "F", "forced load", "a module was loaded by force", "it does not fit this kernel"),
    Taint(2, "S", "out of specification", "the machine is out of its specification", _UNEXPECTED),
    Taint(3, "R", "forced unload", "a module was unloaded by force", "freed code may still be called"),
    Taint(4, "M", "machine check", "the processor reported a machine check", "the hardware failed"),
    Taint(5, "B", "bad page", "a page was bad, or a sanitizer saw bad memory use", "memory was misused"),
    Taint(6, "U", "user", "a program asked for it", "an unsafe parameter was set, or the taint written to"),
    Taint(7, "D", "died", "the kernel died", "there was an oops or a BUG"),
    Taint(8, "A", "ACPI override", "an ACPI table was overridden", _UNEXPECTED),
    Taint(9, "W", "warning", "the kernel warned", "there was a WARNING, and its text is in the log"),
    Taint(10, "C", "staging", "a staging driver was loaded", "no module needs a driver of unknown quality"),
    Taint(11, "I", "firmware workaround", "a severe firmware bug is worked around"),
    Taint(12, "O", "out of tree", "an out-of-tree module was loaded"),
    UNSIGNED,
    Taint(14, "L", "soft lockup", "a soft lockup occurred", "a processor did not schedule for many seconds"),
    Taint(15, "K", "live patch", "the kernel was live patched", "it is no longer the kernel under test"),
    Taint(16, "X", "auxiliary", "the distributor marked it"),
    Taint(17, "T", "randstruct", "the kernel was built with random structure layout"),
    Taint(18, "N", "test", "an in-kernel test was run"),
    Taint(19, "J", "fwctl", "a program used a mutating debug operation of fwctl", _UNEXPECTED),
)


def decode(value: int) -> list[Taint]:
    """The bits set in `value`, lowest first; one not in the table has the letter `?` and is a fault."""
    return [_taint(bit) for bit in range(value.bit_length()) if value >> bit & 1]


def judge(before: int, after: int, *, key_known: bool = False, proprietary: bool = False) -> list[str]:
    """Why a module fails, by the taint before it was loaded and after it was unloaded; empty if it does not.

    `key_known`: the kernel can know the lab's key (enrolled or built in); without it even a signed module counts
    as unsigned, and that says nothing of the module. `proprietary`: the module declares no GPL licence.
    """
    reasons = []
    if before & ~after:
        lost = "".join(taint.letter for taint in decode(before & ~after))
        reasons.append(f"taint {lost} vanished: the machine was restarted in between, so nothing can be compared")
    for taint in decode(after & ~before):
        fault = taint.fault
        if taint == UNSIGNED and key_known:
            fault = "the kernel knows the lab's key, and found no signature by it"
        if taint == PROPRIETARY and proprietary:
            fault = ""
        if fault:
            reasons.append(f"taint {taint.letter} ({taint.value}, {taint.meaning}): {fault}")
    return reasons


def _taint(bit: int) -> Taint:
    if bit < len(TAINTS):
        return TAINTS[bit]
    return Taint(bit, "?", "unknown", f"bit {bit} is newer than this table", "add it to kmodlab/judge/taint.py")
