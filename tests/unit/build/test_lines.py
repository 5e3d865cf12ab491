"""Where in C an instruction is: asked of a file that was compiled for it, by the tools that a run uses."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kmodlab.build.lines import source_lines
from kmodlab.judge.classifier import Frame

SOURCE = """\
static inline int inner(int *p)
{
\treturn *p + 1;
}

__attribute__((section(".init.text"))) int starts(int *p)
{
\treturn inner(p);
}

int reads(int *p)
{
\tint n = 0;
\tfor (int i = 0; i < p[1]; i++)
\t\tn += p[i];
\treturn n;
}
"""

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="needs a compiler; build roots have theirs")


@pytest.fixture(scope="module")
def debug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "mine.c").write_text(SOURCE)
    subprocess.run(["gcc", "-g", "-O2", "-c", "mine.c", "-o", "mine.debug"], cwd=folder, check=True)
    return folder / "mine.debug"


def test_each_function_is_looked_for_in_its_own_section(debug: Path) -> None:
    frames = [Frame("starts", 0, "mine", returns=False), Frame("reads", 1, "mine", returns=True)]
    found = source_lines(None, debug, frames)
    assert re.search(r"mine\.c:[37]$", found[frames[0]]), "the inline function's line, or its caller's"
    assert re.search(r"mine\.c:1[2-4]$", found[frames[1]])


def test_what_is_not_known_is_left_out(debug: Path, tmp_path: Path) -> None:
    assert source_lines(None, debug, [Frame("no_such", 0, "mine", returns=False)]) == {}
    assert source_lines(None, tmp_path / "none.debug", [Frame("reads", 0, "mine", returns=False)]) == {}


def test_a_file_that_is_no_module_says_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.debug"
    bad.write_bytes(b"\x7fELF" + b"\xff" * 4096)
    assert source_lines(None, bad, [Frame("reads", 0, "mine", returns=False)]) == {}
