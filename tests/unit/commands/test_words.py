"""What is made of the commands: the manual page, and what a shell completes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kmodlab.cli import main
from kmodlab.commands.completion import SHELLS
from kmodlab.commands.manual import manual
from kmodlab.commands.options import modules_asked
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError

PAGE = REPOSITORY / "docs/kmodlab.1"


def completed(line: str, cwd: Path) -> list[str]:
    """What bash is told of a line that is being typed."""
    environment = {
        **os.environ,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
        "_KMODLAB_COMPLETE": "bash_complete",
    }
    answer = subprocess.run(
        [Path(sys.executable).parent / "kmodlab"], capture_output=True, text=True, check=True, env=environment, cwd=cwd
    )
    assert answer.stderr == ""
    return [each.removeprefix("plain,") for each in answer.stdout.splitlines() if each]


def test_the_kept_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == "\n".join(manual(click.Context(main, info_name="kmodlab"))) + "\n", "run `make generated`"


def test_the_page_has_every_command_and_option() -> None:
    text = PAGE.read_text().replace("\\-", "-")
    for name, command in main.commands.items():
        assert f".SS kmodlab {name} " in text
        assert all(option in text for each in command.params for option in each.opts if option.startswith("--"))


@pytest.mark.skipif(not shutil.which("groff"), reason="install groff")
def test_roff_has_nothing_to_say_against_it() -> None:
    answer = subprocess.run(["groff", "-ww", "-man", "-Tutf8", "-z", str(PAGE)], capture_output=True, text=True, check=True)
    assert answer.stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_its_own_words(shell: str) -> None:
    command = [str(Path(sys.executable).parent / "kmodlab"), "completion", shell]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"_KMODLAB_COMPLETE={shell}_complete" in answer.stdout


def test_kernels_and_modules_are_completed(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("obj-m := one.o other.o\nobj-m += two.o\none-y := a.o\n")
    assert completed("kmodlab matrix --kernels 7.", tmp_path) == ["7.2-x86_64", "7.3-x86_64", "7.3-arm64", "7.2-armhf"]
    assert completed("kmodlab matrix --kernels rp", tmp_path) == ["rpi4", "rpi5"]
    assert completed("kmodlab matrix --only o", tmp_path) == ["one", "other"]
    assert "--kernels" in completed("kmodlab summary --k", tmp_path)


def test_who_completes_a_line_where_nothing_is_known_is_told_nothing(tmp_path: Path) -> None:
    assert completed("kmodlab matrix --only o", tmp_path) == []


def test_the_modules_that_are_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert modules_asked("") == REPOSITORY / "examples"
    monkeypatch.chdir(tmp_path)
    assert modules_asked("examples") == REPOSITORY / "examples"
    assert modules_asked("elsewhere") == "elsewhere"
    with pytest.raises(LabError, match=r"no Makefile in .*--modules"):
        modules_asked("")
    (tmp_path / "Kbuild").write_text("obj-m := one.o\n")
    assert modules_asked("") == tmp_path
    (tmp_path / "examples").mkdir()
    assert modules_asked("examples") == "examples"
