"""A module's own map, which outlives it."""

from pathlib import Path

import pytest

from kmodlab.build import elf
from kmodlab.guest.shell import Guest
from kmodlab.plan.catalog import Module
from kmodlab.verify import symbols
from kmodlab.verify.module import ModuleUnderTest
from kmodlab.verify.symbols import Symbols

TOY = Symbols("toy", (0xFFFFFFFFC0A1B010, 0xFFFFFFFFC0A1B040), (("tick", 0x20), ("toy_exit", 0x10)))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("calls 0xffffffffc0a1b010", "calls tick+0x0/0x20 [toy]"),
        ("RIP: 0010:0xffffffffc0a1b04a", "RIP: 0010:toy_exit+0xa/0x10 [toy]"),
        ("behind one that does not return: ffffffffc0a1b050", "behind one that does not return: toy_exit+0x10/0x10 [toy]"),
        ("between two: 0xffffffffc0a1b038", "between two: 0xffffffffc0a1b038"),
        ("before all: 0xffffffffc0a1b000", "before all: 0xffffffffc0a1b000"),
        ("of another: ffff888003d2c000", "of another: ffff888003d2c000"),
    ],
)
def test_an_address_of_its_own_has_a_name(said: str, named: str) -> None:
    assert TOY.named(said) == named


@pytest.mark.parametrize("ko", [b"", b"rubbish", b"\x7fELF\x02\x01" + b"\xff" * 200])
def test_a_damaged_file_has_no_map(ko: bytes) -> None:
    assert symbols.of("toy", ko, {".text": 0}) == Symbols("toy", (), ())


def test_a_function_is_called_by_its_own_name_not_by_that_of_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("init_module", "toy_init", "zero_toy")
    found = [elf.Symbol(name, ".init.text", 16, 32, function=True) for name in names]
    monkeypatch.setattr(elf, "symbols", lambda ko: found)
    monkeypatch.setattr(elf, "sizes", lambda ko: {".init.text": 48})
    toy = symbols.of("toy", b"", {".init.text": 0xFFFFFFFFC0A1B000})
    assert toy.named("by 0xffffffffc0a1b01f") == "by toy_init+0xf/0x20 [toy]"


def test_its_variables_have_names_and_what_stays_is_told_from_what_goes_after_init(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [elf.Symbol("nb", ".data", 0x20, 0x18, function=False), elf.Symbol("toy", ".text", 0, 16, function=True)]
    monkeypatch.setattr(elf, "symbols", lambda ko: found)
    monkeypatch.setattr(elf, "sizes", lambda ko: {".data": 0x40, ".text": 0x10, ".init.text": 0x30, ".bss": 0})
    places = {
        ".text": 0xFFFFFFFFC0001000,
        ".data": 0xFFFFFFFFC0003000,
        ".init.text": 0xFFFFFFFFC0005000,
        ".bss": 0xFFFFFFFFC0003040,
    }
    toy = symbols.of("toy", b"", places)
    assert toy.parts == ((0xFFFFFFFFC0001000, 0xFFFFFFFFC0001010), (0xFFFFFFFFC0003000, 0xFFFFFFFFC0003040))
    text = "0xffffffffc0003020 0xffffffffc0003008 0xffffffffc0001000 0xffffffffc0003040"
    assert toy.told(text) == "nb [toy] memory of toy toy+0x0/0x10 [toy] 0xffffffffc0003040"
    assert toy.named(text) == text.replace("0xffffffffc0001000", "toy+0x0/0x10 [toy]")


def test_a_module_that_was_loaded_twice_is_named_by_both_maps() -> None:
    elsewhere = Symbols("toy", (0xFFFFFFFFC0846000,), (("toy_init", 0x40),))
    module = ModuleUnderTest(Module(name="toy"), Guest("K", Path("ssh_config"), "x86_64"), [], [], symbols=TOY, again=elsewhere)
    assert module.named("0xffffffffc0a1b010, 0xffffffffc0846038") == "tick+0x0/0x20 [toy], toy_init+0x38/0x40 [toy]"
