"""What a build said: which module each line is about, what broke, and why in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from kmodlab.build.modules import SourceModule
from kmodlab.ground import sandbox
from kmodlab.results.contract import one_line

MOST_WARNINGS = 20
"""Of a module's warnings, so many are kept one by one; the log has all."""
FAILED = re.compile(
    r"\*\*\* \[(?:\S+:\d+: )?([^\s\]]+)\.(?:o|ko|mod|mod\.c)\] Error"
    r"|ERROR: modpost: .*\[(\S+)\.ko\]"
    r"|ERROR: modpost: .*?(?:^|[ ])([\w./+-]+): "
    r"|ERROR: modpost: missing \S+ in (\S+)\.o"
    r"|(?:^|\s)(\S+)\.o: error: objtool",
    re.MULTILINE,
)
"""How kbuild names what it could not make: make's own word, modpost's (two forms), objtool's."""
UNDEFINED = re.compile(r'^ERROR: modpost: "(\S+)" \[\S+\] undefined!$', re.MULTILINE)
"""A symbol that the kernel has not: another module of the tree may have it."""
LACKS = re.compile(rf"{UNDEFINED.pattern}|Module\.symvers: No such file or directory$", re.MULTILINE)
"""That, or the list of such symbols of a folder that is not built yet."""
STEP = re.compile(r"^  [A-Z][A-Z0-9_]*(?: \[M\])? +(\S+?)\.(?:o|ko|mod|mod\.c|mod\.o)$", re.MULTILINE)
"""kbuild's line for a step: `  CC [M]  /mnt/hello-1.o`."""
IN_THE_KERNEL = re.compile(r"Entering directory '(?:/usr/src/|/usr/lib/|/lib/modules/)")
"""make's line where it begins to read the kernel's own rules."""
IN_VAIN = (r": (command )?not found$", r": No such file or directory$")
"""That a tool or a file was looked for in vain, which may be of no account."""
ERRORS = (
    *(f"^{sandbox.KILLED}", r"^(?!kmodlab: ).*\berror(\[E\d+\])?:", r"^ERROR:", r"\bError: "),
    *(*IN_VAIN, r"^kmodlab: error: ", r"\*\*\*"),
)
"""What tells why a build failed, the best first."""


class Owners:
    """Whose an object is that a build speaks of, whichever path it is called by."""

    def __init__(self, modules: Iterable[SourceModule]) -> None:
        self._of: dict[str, list[SourceModule]] = {}
        for module in modules:
            for path in dict.fromkeys((module.path, *module.objects)):
                parts = PurePosixPath(path).parts
                for number in range(len(parts)):
                    self._of.setdefault("/".join(parts[number:]), []).append(module)

    def of(self, path: str) -> list[SourceModule]:
        """The modules of an object: by all of its path that is known, at least by its name."""
        parts = PurePosixPath(path.removesuffix(".mod")).parts
        for number in range(len(parts)):
            if found := self._of.get("/".join(parts[number:])):
                return found
        return []


def reached_kbuild(log: str) -> bool:
    """Whether a build came as far as the kernel's own rules."""
    return bool(STEP.search(log) or IN_THE_KERNEL.search(log))


def went_wrong(log: str) -> bool:
    """Whether a log tells of an error; that something was looked for in vain is none."""
    patterns = [pattern for pattern in ERRORS if pattern not in IN_VAIN]
    return any(re.search(pattern, line.strip()) for line in log.splitlines() for pattern in patterns)


def warnings(log: str) -> tuple[str, ...]:
    """A build's warnings, each as one line; of many the first, and how many more there are."""
    found = [one_line(line) for line in log.splitlines() if re.search(r"\bwarning:|\bWARNING:", line)]
    more = len(found) - MOST_WARNINGS
    return (*found[:MOST_WARNINGS], *([f"and {more} more: see the log"] if more > 0 else []))


def word(log: str) -> str:
    """The one line of a build log that says why it failed: what it was killed for, else the compiler's first error, else
    modpost's or objtool's, else the tool that is missing, else make's. Empty where none does.
    """
    lines = [line.strip() for line in log.splitlines()]
    for pattern in ERRORS:
        for line in lines:
            if re.search(pattern, line):
                return re.sub(r"(?<![\w.])\.dkms/[^/\s]+/[^/\s]+/build/", "", line.replace(f"{sandbox.WORK}/", ""))
    return ""


def failure_reason(log: str, name: str) -> str:
    """Why a module or program was not built."""
    return word(log) or f"the Makefile built no {name}.ko"


def failed_modules(log: str, batch: Sequence[SourceModule]) -> list[SourceModule]:
    """Which modules of a batch broke its build, as far as kbuild names them or one of their objects."""
    owners = Owners(batch)
    named = {path for match in FAILED.finditer(log) for path in match.groups() if path}
    broken = {module.path for path in named for module in owners.of(path)}
    return [module for module in batch if module.path in broken]


def split_log(log: str, batch: Sequence[SourceModule]) -> dict[str, str]:
    """Give each module its own part of a joint log, by its path, and "" what is nobody's; a target's lines stand together
    (make --output-sync).
    """
    owners = Owners(batch)
    parts: dict[str, list[str]] = {"": [], **{module.path: [] for module in batch}}
    current: list[SourceModule] = []
    for line in log.splitlines():
        if step := STEP.match(line):
            current = owners.of(step[1])
        elif failed := re.match(r"^make(?:\[\d+\])?: \*\*\* \[(?:\S+:\d+: )?([^\s\]]+)\.(?:o|ko|mod|mod\.c)\] Error", line):
            for module in owners.of(failed[1]):
                parts[module.path].append(line)
            current = []
            continue
        elif re.match(r"^(make(\[\d+\])?:|  [A-Z]+ )", line):
            current = []
        if named := re.match(r"^(?:In file included from )?(\S*?)\.[chS]:", line):
            current = owners.of(named[1]) or current
        elif modpost := re.match(r"^ERROR: modpost: .*\[(\S+)\.ko\]|^(?:ERROR|WARNING): modpost: missing \S+ in (\S+)\.o", line):
            current = owners.of(modpost[1] or modpost[2]) or current
        for module in current[:1] if current else ():
            parts[module.path].append(line)
        if not current:
            parts[""].append(line)
    return {path: "\n".join(lines) + "\n" for path, lines in parts.items()}
