"""Run a program of this machine that speaks with a stranger (a guest, a board): bounded in time, and in what it brings back."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

SHORT = 120.0
"""Seconds for a program that asks or changes only this machine: far more than any needs, so that none is waited for for ever."""
LONG = 2 * 3600.0
"""Seconds for one that takes much from a network, or makes an image."""
MOST = 16 << 20
"""Bytes of output that are taken, of each stream."""


@dataclass(frozen=True)
class Ended:
    """What a program did."""

    status: int
    """Its exit status; negative where a signal ended it, SIGXFSZ where it brought more than was to be taken."""
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        """Its output as text."""
        return self.output.decode(errors="replace")

    @property
    def last_word(self) -> str:
        """The last line of its error output."""
        return (self.errors.strip().splitlines() or ["no word"])[-1]


def run(command: Sequence[str], *, seconds: float, most: int = MOST, stdin: bytes = b"") -> Ended:
    """Run a program to its end. TimeoutExpired where that does not come in time: it is killed.

    Its output goes into files, whose size the kernel limits: so nothing of ours grows while it speaks.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        whole = ["prlimit", f"--fsize={most}", "--", *command]
        answer = subprocess.run(whole, stdin=given, stdout=output, stderr=errors, check=False, timeout=seconds)
        for file in (output, errors):
            file.seek(0)
        return Ended(answer.returncode, output.read(), errors.read().decode(errors="replace"))
