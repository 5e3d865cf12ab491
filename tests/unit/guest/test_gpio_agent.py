"""The agent's structures are the kernel's: each ioctl's number has the size of its structure in it."""

import ast
from pathlib import Path

import pytest

from kmodlab.guest.agents import gpio
from kmodlab.guest.gpio import AGENT


@pytest.mark.parametrize(
    ("number", "structure"),
    [
        (gpio.GET_CHIPINFO, gpio.CHIPINFO),
        (gpio.GET_LINEINFO, gpio.LINEINFO),
        (gpio.GET_LINE, gpio.REQUEST),
        (gpio.GET_VALUES, gpio.VALUES),
        (gpio.SET_VALUES, gpio.VALUES),
    ],
)
def test_sizes(number: int, structure: object) -> None:
    assert number >> 16 & 0x3FFF == structure.size  # type: ignore[attr-defined]
    assert number >> 8 & 0xFF == 0xB4


def test_a_request_has_its_fields_where_the_kernel_looks_for_them() -> None:
    request = gpio.REQUEST.pack(7, b"kmodlab", gpio.FLAGS["output"], 1, 5)
    assert request[:4] == (7).to_bytes(4, "little")
    assert request[256:263] == b"kmodlab"
    assert request[288:296] == (8).to_bytes(8, "little")
    assert request[560:564] == (1).to_bytes(4, "little")
    assert request[588:] == (5).to_bytes(4, "little")


def test_a_target_needs_no_package_and_no_newer_python_than_3_9() -> None:
    tree = ast.parse(Path(AGENT).read_text(), feature_version=(3, 9))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    standard = {"__future__", "collections.abc", "fcntl", "json", "os", "pathlib", "select", "struct", "sys", "time"}
    assert imported <= standard
