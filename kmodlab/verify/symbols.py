"""A module's own map: which function lay where while it was loaded. When it has gone, the kernel knows its addresses no more."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from kmodlab.build import elf

ALIASES = ("init_module", "cleanup_module")
"""What module_init() and module_exit() call a module's functions beside their own names, which say more."""
ADDRESS = re.compile(r"\b(0x)?([0-9a-f]{8}(?:[0-9a-f]{8})?)\b(?!\+)")


@dataclass(frozen=True)
class Symbols:
    """The functions of a module's file that was loaded so."""

    module: str
    starts: tuple[int, ...]
    """Where each function lay, in order."""
    functions: tuple[tuple[str, int], ...]
    """Its name, and its size in bytes."""
    variables: tuple[tuple[int, int, str], ...] = ()
    """From where to where each of its variables lay, and its name."""
    parts: tuple[tuple[int, int], ...] = ()
    """From where to where its code and variables lay that stayed as long as it did."""

    def told(self, text: str) -> str:
        """The same as `named`, in which its variables have names, too."""
        return ADDRESS.sub(lambda found: self._variable(int(found[2], 16)) or found[0], self.named(text))

    def _variable(self, address: int) -> str:
        inside = (name for begin, end, name in self.variables if begin <= address < end)
        if name := next(inside, ""):
            return f"{name} [{self.module}]"
        return f"memory of {self.module}" if any(begin <= address < end for begin, end in self.parts) else ""

    def named(self, text: str) -> str:
        """A text in which each address of a function of the module's is told by name, as the kernel would: `f+0x1f/0x40 [m]`."""
        return ADDRESS.sub(lambda found: self._name(int(found[2], 16)) or found[0], text)

    def _name(self, address: int) -> str:
        where = bisect_right(self.starts, address) - 1
        if where < 0:
            return ""
        name, size = self.functions[where]
        offset = address - self.starts[where]
        # A return address may lie just behind a function that does not return.
        return f"{name}+{offset:#x}/{size:#x} [{self.module}]" if offset <= size else ""


def of(module: str, ko: bytes, sections: Mapping[str, int]) -> Symbols:
    """A module's map, of its file and of the addresses of its sections (/sys/module/MODULE/sections); empty of a damaged file."""
    try:
        known = [(each, sections.get(each.section or "")) for each in elf.symbols(ko)]
        sizes = elf.sizes(ko)
    except ValueError:
        return Symbols(module, (), ())
    placed = sorted(
        (begin + each.value, each.name in ALIASES, each.name, each.size)
        for each, begin in known
        if begin is not None and each.function
    )
    first: dict[int, tuple[int, str, int]] = {}
    for start, _, name, size in placed:
        first.setdefault(start, (start, name, size))
    found = first.values()
    return Symbols(
        module,
        tuple(start for start, _, _ in found),
        tuple((name, size) for _, name, size in found),
        tuple(
            (begin + each.value, begin + each.value + each.size, each.name)
            for each, begin in known
            if begin is not None and each.size and not each.function
        ),
        tuple(
            (begin, begin + sizes[name]) for name, begin in sections.items() if sizes.get(name) and not name.startswith(".init")
        ),
    )
