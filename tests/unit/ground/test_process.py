"""Programs are run to a limit."""

import ast
import signal
import subprocess
from pathlib import Path

import pytest

from kmodlab.ground import process
from kmodlab.ground.cache import REPOSITORY

SOURCES = sorted((REPOSITORY / "kmodlab").rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_program_is_waited_for_for_ever(source: Path) -> None:
    runs = [call for call in ast.walk(ast.parse(source.read_text())) if isinstance(call, ast.Call)]
    unlimited = [
        f"{source.name}:{call.lineno}"
        for call in runs
        if ast.unparse(call.func) == "subprocess.run" and "timeout" not in {keyword.arg for keyword in call.keywords}
    ]
    assert not unlimited


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        process.run(["sleep", "1000"], seconds=0.1)


def test_a_program_that_says_too_much_is_ended() -> None:
    assert process.run(["yes"], seconds=60, most=4096).status == -signal.SIGXFSZ
