"""What a module takes from the kernel: read from files of either word size, made here by hand, and from what is no module."""

import struct
from pathlib import Path

import pytest

from kmodlab.build.elf import imports
from kmodlab.verify.afterwards import CLOSING_SECONDS, closing

HEADER = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
SECTION = {32: "IIIIIIIIII", 64: "IIQQQQIIQQ"}
SYMBOL = {32: "IIIBBH", 64: "IBBHQQ"}


def elf(bits: int, order: str, wanted: list[str], own: list[str]) -> bytes:
    """An object that takes the wanted symbols and has its own ones: a table of symbols and one of names."""
    names, symbols = b"\0", struct.pack(order + SYMBOL[bits], 0, 0, 0, 0, 0, 0)
    for name, section in [*((each, 0) for each in wanted), *((each, 1) for each in own)]:
        fields = (len(names), 0, 0, section, 0, 0) if bits == 64 else (len(names), 0, 0, 0, 0, section)
        symbols += struct.pack(order + SYMBOL[bits], *fields)
        names += name.encode() + b"\0"
    start = 16 + struct.calcsize(order + HEADER[bits])
    table = start + len(symbols) + len(names)
    size = struct.calcsize(order + SECTION[bits])
    ident = b"\x7fELF" + bytes([bits // 32, "<>".index(order) + 1, 1]) + bytes(9)
    header = struct.pack(order + HEADER[bits], 1, 0, 1, 0, 0, table, 0, start, 0, 0, size, 3, 0)
    sections = struct.pack(order + SECTION[bits], *[0] * 10)
    sections += struct.pack(order + SECTION[bits], 0, 2, 0, 0, start, len(symbols), 2, 0, 0, 0)
    sections += struct.pack(order + SECTION[bits], 0, 3, 0, 0, start + len(symbols), len(names), 0, 0, 0, 0)
    return ident + header + symbols + names + sections


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_what_a_module_takes_is_told_from_what_it_has(tmp_path: Path, bits: int, order: str) -> None:
    ko = tmp_path / "one.ko"
    ko.write_bytes(elf(bits, order, ["_printk", "mod_timer"], ["init_module"]))
    assert imports(ko) == {"_printk", "mod_timer"}


@pytest.mark.parametrize("content", [b"", b"text", b"\x7fELF", b"\x7fELF\x07\x01", elf(64, "<", ["a"], [])[:-70]])
def test_what_is_no_whole_module_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    ko = tmp_path / "one.ko"
    ko.write_bytes(content)
    with pytest.raises(ValueError, match="ELF"):
        imports(ko)
    assert closing([ko]) == CLOSING_SECONDS, "who cannot tell watches"


def test_who_can_leave_nothing_to_run_later_is_not_waited_for(tmp_path: Path) -> None:
    now, later = tmp_path / "now.ko", tmp_path / "later.ko"
    now.write_bytes(elf(64, "<", ["_printk", "proc_create", "seq_read", "__fentry__"], ["my_timer"]))
    later.write_bytes(elf(64, "<", ["_printk", "queue_delayed_work_on"], []))
    assert closing([now]) == 0
    assert closing([now, later]) == CLOSING_SECONDS
