"""The table of symbols of a built module's file (System V ABI, chapter 4): what it has, and what it takes from the kernel."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kmodlab.ground.files import read_regular

MOST = 256 << 20
"""Bytes of a module's file that are read."""
SYMBOL_TABLE = 2
"""A section's type, SHT_SYMTAB."""
IN_MEMORY = (".text", ".init.text", ".exit.text", ".data", ".bss", ".rodata", ".init.data")
"""What the names of sections begin with that stay in memory with a module, or are there while it begins."""
FUNCTION = 2
"""A symbol's type, STT_FUNC."""


class Symbol(NamedTuple):
    """One symbol."""

    name: str
    section: str | None
    """Where it is; None where the file has it not, and asks for it."""
    value: int
    """Bytes from its section's beginning."""
    size: int
    function: bool


class _Layout(NamedTuple):
    """Where the ELF of one word size keeps what is asked here: formats of `struct`, and the order of a symbol's fields."""

    header: str
    section: str
    symbol: str
    fields: tuple[int, int, int, int, int]
    """Which field of a symbol is its name, its kind, its section, its value, its size."""


LAYOUTS = {
    1: _Layout(header="16xHHIIIIIHHHHHH", section="IIIIIIIIII", symbol="IIIBBH", fields=(0, 3, 5, 1, 2)),
    2: _Layout(header="16xHHIQQQIHHHHHH", section="IIQQQQIIQQ", symbol="IBBHQQ", fields=(0, 1, 3, 4, 5)),
}
"""By the file's class: 32 and 64 bits."""
ORDERS = {1: "<", 2: ">"}


def imports(ko: Path) -> frozenset[str]:
    """The names of the symbols that a module's file takes from elsewhere. ValueError where it is no whole ELF file."""
    return frozenset(symbol.name for symbol in symbols(read_regular(ko, MOST)) if symbol.section is None)


def anchors(content: bytes) -> dict[str, tuple[int, int]]:
    """For each section with code or data in it one symbol there: its place in the table of symbols, and its value.

    ValueError where it is no whole ELF file.
    """
    found: dict[str, tuple[int, int]] = {}
    try:
        for index, section, value in _places(content):
            if section.startswith(IN_MEMORY):
                found.setdefault(section, (index, value))
    except (struct.error, LookupError, OverflowError) as problem:
        raise ValueError("no whole ELF file") from problem
    return found


def without_addresses(content: bytes) -> bytes:
    """The same file, of which no section says where it would be: the kernel's rules for modules leave a few numbers there, and
    gdb places a file's sections where it is told only if all are 0. ValueError where it is no whole ELF file.
    """
    changed = bytearray(content)
    try:
        layout, order, sections, _ = _sections(content)
        form, table = order + layout.section, struct.unpack_from(order + layout.header, content)[5]
        for number, section in enumerate(sections):
            struct.pack_into(form, changed, table + struct.calcsize(form) * number, *section[:3], 0, *section[4:])
    except (struct.error, LookupError, OverflowError) as problem:
        raise ValueError("no whole ELF file") from problem
    return bytes(changed)


def symbols(content: bytes) -> list[Symbol]:
    """The named symbols of a file. ValueError where it is no whole ELF file.

    It may be a stranger's: what lies outside of it is not followed.
    """
    try:
        return list(_symbols(content))
    except (struct.error, LookupError, OverflowError) as problem:
        raise ValueError("no whole ELF file") from problem


def sizes(content: bytes) -> dict[str, int]:
    """The bytes of each section, by name; of those of one name together. ValueError where it is no whole ELF file."""
    found: dict[str, int] = {}
    try:
        _, _, sections, names = _sections(content)
        for name, section in zip(names, sections, strict=True):
            found[name] = found.get(name, 0) + section[5]
    except (struct.error, LookupError, OverflowError) as problem:
        raise ValueError("no whole ELF file") from problem
    return found


def _sections(content: bytes) -> tuple[_Layout, str, list[tuple[int, ...]], list[str]]:
    """A file's layout and byte order, its sections and their names."""
    if content[:4] != b"\x7fELF":
        raise ValueError("no ELF file")
    layout, order = LAYOUTS[content[4]], ORDERS[content[5]]
    header = struct.unpack_from(order + layout.header, content)
    table, size, count, named = header[5], header[10], header[11], header[12]
    sections = [struct.unpack_from(order + layout.section, content, table + size * each) for each in range(count)]
    return layout, order, sections, [_text(_part(content, sections[named]), section[0]) for section in sections]


def _places(content: bytes) -> Iterator[tuple[int, str, int]]:
    """Of each symbol that is in a section: its place in the table, the section's name, its value."""
    layout, order, sections, names = _sections(content)
    for section in (each for each in sections if each[1] == SYMBOL_TABLE):
        for index, symbol in enumerate(struct.iter_unpack(order + layout.symbol, _part(content, section))):
            owner, value = symbol[layout.fields[2]], symbol[layout.fields[3]]
            if 0 < owner < len(sections):
                yield index, names[owner], value


def _symbols(content: bytes) -> Iterator[Symbol]:
    layout, order, sections, names = _sections(content)
    count = len(sections)
    for section in (each for each in sections if each[1] == SYMBOL_TABLE):
        texts = _part(content, sections[section[6]])
        for symbol in struct.iter_unpack(order + layout.symbol, _part(content, section)):
            name, kind, owner, value, length = (symbol[field] for field in layout.fields)
            if name and owner < count:  # else it is a constant, or common to several files, which modules are not
                place = names[owner] if owner else None
                yield Symbol(_text(texts, name), place, value, length, kind & 15 == FUNCTION)


def _part(content: bytes, section: tuple[int, ...]) -> bytes:
    return content[section[4] : section[4] + section[5]]


def _text(texts: bytes, start: int) -> str:
    return texts[start : texts.find(b"\0", start)].decode(errors="replace")
