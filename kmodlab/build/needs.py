"""What a built module needs before it can be loaded, in its own words: modinfo's `depends` and `softdep`."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from kmodlab.ground import sandbox
from kmodlab.ground.files import regular_files
from kmodlab.ground.sandbox import Limits

MODINFO = f'cd {sandbox.WORK}; for file; do modinfo -0 "./$file" | base64 -w 0; echo; done'
"""One line a file, whatever a module says of itself."""
READING = Limits(seconds=60)


def modinfo(ko: Path) -> dict[str, str]:
    """What modinfo says of a module's file, by field; the last value of a field that is there more than once."""
    if not ko.is_file():
        return {}
    files = regular_files(ko.parent, "*.ko")
    return _told(ko.parent, tuple((path.name, path.stat().st_mtime_ns) for path in files)).get(ko.name, {})


@cache
def _told(folder: Path, files: tuple[tuple[str, int], ...]) -> dict[str, dict[str, str]]:
    """The same of all modules of a folder, by file: one sandbox for all, as starting one takes longer than modinfo does."""
    names = [name for name, _ in files]
    answer = sandbox.run(None, ["sh", "-c", MODINFO, "sh", *names], read_only={folder: sandbox.WORK}, limits=READING)
    told = {}
    for name, line in zip(names, answer.output.splitlines(), strict=False):
        fields = (entry.partition("=") for entry in b64decode(line).decode(errors="replace").split("\0"))
        told[name] = {field: value.strip() for field, _, value in fields}
    return told


def own_needs(ko: Path, own: Iterable[str]) -> list[str]:
    """Those of the tree's `own` modules whose symbols a module's file uses (its `depends`), or that its softdep names first."""
    near: dict[str, str] = {}
    for name in own:  # of several of one name, that of the nearest folder
        if name != ko.stem and _shared(name, ko.stem) >= _shared(near.get(kernel_name(name), ""), ko.stem):
            near[kernel_name(name)] = name
    depends = {kernel_name(name) for name in (*modinfo(ko).get("depends", "").split(","), *soft_needs(ko))}
    return [name for name in near.values() if kernel_name(name) in depends]


def _shared(name: str, other: str) -> int:
    return next((number for number, (a, b) in enumerate(zip(name, other, strict=False)) if a != b), min(len(name), len(other)))


def soft_needs(ko: Path) -> list[str]:
    """What a module's file would have modprobe load first, where that is there: `softdep: pre: a b post: c`."""
    return soft_words(modinfo(ko).get("softdep", ""))


def soft_words(softdep: str) -> list[str]:
    """The modules that a softdep names first."""
    words = softdep.partition("pre:")[2].partition("post:")[0].split()
    return [word for word in words if re.fullmatch(r"[\w-]+", word)]


def in_tree_needs(ko: Path, own: Iterable[str]) -> list[str]:
    """The kernel's own modules that a module's file depends on: all its `depends` but the tree's `own`."""
    mine = {kernel_name(name) for name in own}
    return [name for name in modinfo(ko).get("depends", "").split(",") if name and kernel_name(name) not in mine]


def in_loading_order(name: str, needs: Callable[[str], Iterable[str]]) -> list[str]:
    """All that a module needs, and what these need, the first to be loaded first.

    Soft dependencies may go round in a circle, which is left where it closes.
    """
    found: dict[str, None] = {}
    above = [name]

    def place(each: str) -> None:
        for need in needs(each):
            if need not in above and need not in found:
                above.append(need)
                place(need)
                found[above.pop()] = None

    place(name)
    return list(found)


def kernel_name(name: str) -> str:
    """As the kernel calls a module: hello_1 for the cell hello-1, and for alice.hello-1, which has its folder's name in front."""
    return name.rpartition(".")[2].replace("-", "_")
