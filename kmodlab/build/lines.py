"""Where in C a function's instruction is, as a module's own debug information says it.

A module's file is a stranger's, and so is what is read of it: the tools that do run in the sandbox, and what they say is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from kmodlab.ground import sandbox
from kmodlab.ground.sandbox import Limits
from kmodlab.judge.classifier import Frame

READING = Limits(seconds=20)
"""For one question about one module."""
MOST_FRAMES = 10
INSIDE = Path("/tmp/module.ko")  # noqa: S108 - in the sandbox's own memory
_SYMBOL = re.compile(
    r"^(?P<name>[\w.$]+) *\|(?P<value>[0-9a-f]+)\| *[tTwW] *\|[^|]*\|[^|]*\|[^|]*\|(?P<section>[\w.$]+)$", re.MULTILINE
)
_PLACE = re.compile(r"^(?P<file>\S.*?):(?P<line>\d+)(?: \(discriminator \d+\))?$")
_KERNELS = ("/usr/src/", "./include/", "./arch/")
"""Where the headers of a kernel are, whose inline functions are not the module's own lines."""


def source_lines(root: Path | None, debug: Path, frames: Iterable[Frame], *, cross: str = "") -> dict[Frame, str]:
    """The line of each frame of a module, `chardev.c:87`, where the file with its debug information tells.

    `root` (None: this machine) has the tools, whose names begin with `cross`. LabError where this machine gives them no sandbox.
    """
    if not debug.is_file():
        return {}
    wanted = list(frames)[:MOST_FRAMES]
    symbols = {found["name"]: found for found in _SYMBOL.finditer(_said(root, debug, f"{cross}nm", "--format=sysv", str(INSIDE)))}
    found: dict[Frame, str] = {}
    for section in sorted({symbols[frame.function]["section"] for frame in wanted if frame.function in symbols}):
        here = [frame for frame in wanted if frame.function in symbols and symbols[frame.function]["section"] == section]
        # A call returns to the instruction behind it, which may be of another line.
        addresses = [int(symbols[frame.function]["value"], 16) + frame.offset - frame.returns for frame in here]
        asked = [f"{address:#x}" for address in addresses]
        said = _said(root, debug, f"{cross}addr2line", "-a", "-i", "-e", str(INSIDE), "-j", section, *asked)
        answers = re.split(r"^0x[0-9a-f]+\n", said, flags=re.MULTILINE)[1:]
        found |= {frame: place for frame, answer in zip(here, answers, strict=False) if (place := _place(answer))}
    return found


def _said(root: Path | None, debug: Path, *command: str) -> str:
    answer = sandbox.run(root, command, limits=READING, read_only={debug: INSIDE})
    return "" if answer.status else answer.output


def _place(answer: str) -> str:
    """The innermost line that is not of the kernel's own headers."""
    places = [found for line in answer.splitlines() if (found := _PLACE.match(line)) and found["line"] != "0"]
    own = next((place for place in places if not place["file"].startswith(_KERNELS)), None)
    return f"{own['file'].removeprefix(f'{sandbox.WORK}/').removeprefix('./')}:{own['line']}" if own else ""
