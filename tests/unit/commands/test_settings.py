"""A command's options from a file are what they are on the command line, which goes before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kmodlab.commands.options import Span
from kmodlab.commands.settings import CONFIG

TEXT = """\
# What is proved.
kernels: [6.10, um-6.12]
deadline: 90m
refresh: yes
mail: kernel@example.org
url:
"""


@click.command()
@CONFIG
@click.option("--kernels", default="")
@click.option("--deadline", type=Span(), default="24h")
@click.option("--refresh", is_flag=True)
@click.option("--quick", is_flag=True)
@click.option("--mail", "to", multiple=True)
@click.option("--url", default="none")
@click.option("--keep", type=click.IntRange(min=1), default=30)
def command(**options: Any) -> None:
    click.echo(repr(options))


def _run(path: Path, text: str | bytes, *words: str) -> tuple[int, str]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = CliRunner().invoke(command, ["--config", str(path), *words])
    return done.exit_code, done.output


def test_a_file_says_what_options_say(tmp_path: Path) -> None:
    status, said = _run(tmp_path / "a.yml", TEXT)
    assert status == 0, said
    assert eval(said) == {  # noqa: S307 - what the command above printed
        "kernels": "6.10 um-6.12",
        "deadline": 5400.0,
        "refresh": True,
        "quick": False,
        "to": ("kernel@example.org",),
        "url": "none",
        "keep": 30,
    }


def test_the_command_line_goes_before_it(tmp_path: Path) -> None:
    _, said = _run(tmp_path / "a.yml", TEXT, "--kernels", "7.3", "--mail", "a@b", "--mail", "c@d")
    assert "'kernels': '7.3'" in said and "'to': ('a@b', 'c@d')" in said and "'deadline': 5400.0" in said


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert _run(tmp_path / "a.yml", "# nothing\n")[0] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("karnels: 6.12", "there is no setting 'karnels', but kernels, deadline"),
        ("deadline: soon", "deadline: 'soon' is no span of time"),
        ("keep: 0", "keep: 0 is not in the range"),
        ("quick: perhaps", "quick: 'perhaps' is not a valid boolean"),
        ("kernels: {a: b}", "kernels must be a text or a list of texts"),
        ("- kernels", "it must hold lines like"),
        ("kernels: [", "expected"),
        (b"\xff\xfe\xff", "decode"),
        ("config: b.yml", "there is no setting 'config'"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, text: str | bytes, words: str) -> None:
    status, said = _run(tmp_path / "a.yml", text)
    (line,) = (line for line in said.splitlines() if line.startswith("Error:"))
    assert status == 2 and f"{tmp_path}/a.yml: " in line and words in line


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["--config", str(tmp_path / "none.yml")])
    assert done.exit_code == 2 and "none.yml" in done.output
