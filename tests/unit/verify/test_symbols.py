"""A module's own map, which outlives it."""

import pytest

from kmodlab.verify import symbols
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
