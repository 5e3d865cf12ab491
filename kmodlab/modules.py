"""The modules of a folder, as its own Makefile names them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kmodlab import sandbox
from kmodlab.cache import digest
from kmodlab.errors import LabError

MAKE_LIMIT = 30.0
"""Seconds that reading a Makefile may take; some run programs to find out where they are."""
GENERATED = re.compile(r"(\.(ko|o|mod|mod\.c|cmd|a|order|symvers)$)|(^\.)")
"""Names of build products and hidden files: never copied, never part of a key."""
QUESTION = """\
src := {folder}
obj := {folder}
srctree := /nowhere
KERNELRELEASE := kmodlab
CONFIG_MODULES := y
CONFIG_X86 := y
CONFIG_X86_64 := y
CONFIG_ARM := y
CONFIG_ARM64 := y
include {folder}/{rules}
.PHONY: kmodlab-answer
kmodlab-answer: ;
$(foreach object,$(filter %.o,$(obj-m)),$(info kmodlab-module $(object) $($(object:.o=-objs)) $($(object:.o=-y))))
"""
"""The Makefile is asked as kbuild asks it, for every architecture at once: which one builds what is the build's business."""


@dataclass(frozen=True)
class SourceModule:
    """One module of a folder."""

    name: str
    """As its file is called: hello-1."""
    folder: Path
    """Of its Makefile."""
    objects: tuple[str, ...]
    """What it is linked from, without suffix: ("start", "stop"); its own name where it is one file."""

    @property
    def kname(self) -> str:
        """As the kernel calls it: hello_1."""
        return self.name.replace("-", "_")

    def sources(self) -> list[Path]:
        """Its own source files, and those they include by a quoted name, as far as they are in its folder."""
        waiting = [self.folder / f"{name}{suffix}" for name in self.objects for suffix in (".c", ".S", ".rs")]
        found: dict[Path, None] = {}
        while waiting:
            path = waiting.pop(0)
            if path in found or not path.is_file():
                continue
            found[path] = None
            text = path.read_text(errors="replace")
            waiting += [path.parent / name for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE)]
        return list(found)

    def key(self) -> str:
        """The content key of everything of the user's that goes into it."""
        return digest(self.name, " ".join(self.objects), self.folder / rules_file(self.folder), *self.sources())


def rules_file(folder: Path) -> str:
    """What kbuild reads in a folder: Kbuild, else Makefile."""
    return "Kbuild" if (folder / "Kbuild").is_file() else "Makefile"


def discover(folder: Path) -> list[SourceModule]:
    """The modules of a flat folder, or of a folder with one folder a module, in the Makefiles' order.

    Raises LabError where there is no such folder or no module in it.
    """
    if not folder.is_dir():
        raise LabError(f"MODULES: {folder} is no folder; name one that holds modules and their Makefile")
    candidates = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not GENERATED.search(path.name))]
    modules: dict[str, SourceModule] = {}
    for place in candidates:
        if not (place / rules_file(place)).is_file():
            continue
        for module in _ask(place):
            if module.name in modules:
                raise LabError(f"MODULES: module {module.name} is in {modules[module.name].folder} and in {place}; rename one")
            modules[module.name] = module
        if place == folder and modules:
            break
    if not modules:
        raise LabError(
            f"MODULES: {folder} holds no module: expected a Makefile or Kbuild with `obj-m += name.o`, there or one folder down"
        )
    return list(modules.values())


def _ask(folder: Path) -> Iterable[SourceModule]:
    inside = Path("/mnt")
    question = QUESTION.format(folder=inside, rules=rules_file(folder))
    command = ["make", "-rR", "--no-print-directory", "-f", "-", "kmodlab-answer"]
    answer = sandbox.run(None, command, read_only={folder.resolve(): inside}, stdin=question, limit=MAKE_LIMIT)
    if answer.returncode:
        problem = next((line for line in answer.stdout.splitlines() if "***" in line), answer.stdout.strip()[-200:])
        raise LabError(f"MODULES: {folder / rules_file(folder)} cannot be read by make: {problem}")
    for line in answer.stdout.splitlines():
        if line.startswith("kmodlab-module "):
            target, *parts = line.split()[1:]
            name = Path(target).name.removesuffix(".o")
            objects = tuple(part.removesuffix(".o") for part in parts) or (target.removesuffix(".o"),)
            yield SourceModule(name=name, folder=folder.resolve(), objects=objects)
