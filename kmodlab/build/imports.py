"""What a built module takes from the kernel, read from its own table of symbols."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from kmodlab.ground.files import read_regular

MOST = 256 << 20
"""Bytes of a module's file that are read."""
SYMBOL_TABLE = 2
"""A section's type, SHT_SYMTAB of the System V ABI, chapter 4."""
UNDEFINED = 0
"""The section of a symbol that the file only asks for, SHN_UNDEF."""


class _Layout(NamedTuple):
    """Where the ELF of one word size keeps what is asked here (System V ABI, chapter 4): formats of `struct`."""

    header: str
    section: str
    symbol: str
    owner: int
    """Which field of a symbol is the number of its section."""


LAYOUTS = {
    1: _Layout(header="16xHHIIIIIHHHHHH", section="IIIIIIIIII", symbol="IIIBBH", owner=5),
    2: _Layout(header="16xHHIQQQIHHHHHH", section="IIQQQQIIQQ", symbol="IBBHQQ", owner=3),
}
"""By the file's class: 32 and 64 bits."""
ORDERS = {1: "<", 2: ">"}


def imports(ko: Path) -> frozenset[str]:
    """The names of the symbols that a module's file has not itself. ValueError where it is no whole ELF file.

    The file is a stranger's: what lies outside of it is not followed.
    """
    content = read_regular(ko, MOST)
    try:
        return _undefined(content)
    except (struct.error, KeyError, IndexError) as problem:
        raise ValueError(f"{ko.name} is no whole ELF file") from problem


def _undefined(content: bytes) -> frozenset[str]:
    if content[:4] != b"\x7fELF":
        raise ValueError("no ELF file")
    layout, order = LAYOUTS[content[4]], ORDERS[content[5]]
    header = struct.unpack_from(order + layout.header, content)
    table, size, number = header[5], header[10], header[11]
    sections = [struct.unpack_from(order + layout.section, content, table + size * each) for each in range(number)]
    found: set[str] = set()
    for section in (each for each in sections if each[1] == SYMBOL_TABLE):
        names = _part(content, sections[section[6]])
        for symbol in struct.iter_unpack(order + layout.symbol, _part(content, section)):
            if symbol[layout.owner] == UNDEFINED and symbol[0]:
                found.add(names[symbol[0] : names.find(b"\0", symbol[0])].decode(errors="replace"))
    return frozenset(found)


def _part(content: bytes, section: tuple[int, ...]) -> bytes:
    return content[section[4] : section[4] + section[5]]
