"""A module's own map: which function lay where while it was loaded. When it has gone, the kernel knows its addresses no more."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

ADDRESS = re.compile(r"\b(0x)?([0-9a-f]{8}(?:[0-9a-f]{8})?)\b(?!\+)")
FUNCTION = 2
"""The type of a symbol that is a function (STT_FUNC of elf(5))."""
SECTION_HEADER = {1: "<IIIIIIIIII", 2: "<IIQQQQIIQQ"}
SYMBOL = {1: "<IIIBBH", 2: "<IBBHQQ"}
"""By the class of an ELF file: 32 bits, 64 bits. Little-endian, as all machines of the fleet are."""


@dataclass(frozen=True)
class Symbols:
    """The functions of a module's file that was loaded so."""

    module: str
    starts: tuple[int, ...]
    """Where each function lay, in order."""
    functions: tuple[tuple[str, int], ...]
    """Its name, and its size in bytes."""

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
        found = sorted(_functions(ko, sections))
    except (struct.error, LookupError, ValueError, OverflowError):
        found = []
    return Symbols(module, tuple(start for start, _, _ in found), tuple((name, size) for _, name, size in found))


def _functions(ko: bytes, addresses: Mapping[str, int]) -> list[tuple[int, str, int]]:
    """Where each function of the sections whose addresses are known lies, its name and its size."""
    bits = ko[4]
    table, size, count, names_at = (
        (*struct.unpack_from("<Q", ko, 40), *struct.unpack_from("<HHH", ko, 58))
        if bits == 2
        else (*struct.unpack_from("<I", ko, 32), *struct.unpack_from("<HHH", ko, 46))
    )
    headers = [struct.unpack_from(SECTION_HEADER[bits], ko, table + size * number) for number in range(count)]
    names = [_text(ko, headers[names_at][4] + header[0]) for header in headers]
    found = []
    for header in headers:
        if header[1] != 2:  # SHT_SYMTAB
            continue
        strings = headers[header[6]][4]
        step = struct.calcsize(SYMBOL[bits])
        for at in range(header[4], header[4] + header[5], step):
            if bits == 2:
                name, info, _, section, value, length = struct.unpack_from(SYMBOL[2], ko, at)
            else:
                name, value, length, info, _, section = struct.unpack_from(SYMBOL[1], ko, at)
            if info & 15 == FUNCTION and section < len(names) and names[section] in addresses:
                found.append((addresses[names[section]] + value, _text(ko, strings + name), length))
    return found


def _text(ko: bytes, at: int) -> str:
    return ko[at : ko.index(b"\0", at)].decode()
