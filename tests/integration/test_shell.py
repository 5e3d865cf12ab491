"""A prompt on a kernel's machine, at a terminal as a person has it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from kmodlab.ground.cache import REPOSITORY
from kmodlab.machine.runtime import runtime_dir

KERNEL = "6.12-x86_64"
COMMAND = [sys.executable, "-m", "kmodlab", "shell", KERNEL, "chardev", "--modules", str(REPOSITORY / "examples")]
LIMIT = 300
"""Seconds in which a prompt must be there; images may have to be made."""
PROMPT = rf"root@{KERNEL}:/run/kmodlab/modules# "


def opened(*words: str) -> pexpect.spawn[str]:
    return pexpect.spawn(COMMAND[0], [*COMMAND[1:], *words], timeout=LIMIT, encoding="utf-8", dimensions=(50, 200))


@pytest.fixture
def shell() -> Iterator[pexpect.spawn[str]]:
    with opened() as found:
        yield found


def nothing_runs() -> bool:
    return not list(runtime_dir().glob("*/*/vm.json"))


def test_modules_are_there_and_control_d_ends_all_of_it(shell: pexpect.spawn[str]) -> None:
    shell.expect_exact("/run/kmodlab/modules: chardev.ko")
    shell.expect(PROMPT)
    shell.sendline("insmod chardev.ko; cat /dev/chardev; echo status $?")
    shell.expect("I already told you 0 times Hello world!\r\n")
    shell.expect("status 0\r\n")
    shell.sendline("stty size; false")
    shell.expect("50 200\r\n")
    shell.expect(PROMPT)  # an end typed while a command has the terminal is no end to the shell that reads after it
    assert not nothing_runs()
    shell.sendeof()
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 1, "the status of the last command there"
    assert nothing_runs()


def test_a_machine_that_dies_under_ones_hands_says_its_last_words(shell: pexpect.spawn[str]) -> None:
    shell.expect(PROMPT)
    shell.sendline("echo c >/proc/sysrq-trigger")
    shell.expect("the machine has ended; its console said at last:")
    shell.expect("Kernel panic")
    shell.expect(pexpect.EOF)
    assert nothing_runs()


def test_who_is_hung_up_leaves_no_machine(shell: pexpect.spawn[str]) -> None:
    shell.expect(PROMPT)
    shell.close()  # the terminal is gone
    assert nothing_runs()


def test_a_script_is_run_as_one() -> None:
    answer = subprocess.run(COMMAND, input="ls; exit 3", capture_output=True, text=True, check=False, timeout=LIMIT)
    assert answer.stdout == "chardev.ko\n"
    assert answer.returncode == 1, answer.stderr
    assert nothing_runs()


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("gdb"), reason="install gdb")
def test_a_debugger_stops_where_the_module_begins_and_knows_its_lines() -> None:
    with opened("--gdb") as shell:
        shell.expect(r"another terminal: (gdb -q -x \S+)")
        assert shell.match
        command = str(shell.match[1])
        shell.expect(PROMPT)
        with pexpect.spawn(command, timeout=60, encoding="utf-8", env={**os.environ, "TERM": "dumb"}) as gdb:
            gdb.expect("the machine goes on")
            for load in ("insmod chardev.ko", "rmmod chardev; insmod chardev.ko"):
                shell.sendline(load)
                gdb.expect("add-symbol-file .*chardev.debug")
                gdb.expect(r"chardev_init \(\) at .*/chardev\.c:\d+")
                gdb.expect(r"\(gdb\) ")
                gdb.sendline("continue")
                shell.expect(PROMPT)
            shell.sendline("cat /dev/chardev")
            shell.expect("Hello world!")
            shell.expect(PROMPT)
        shell.sendeof()
        shell.expect(pexpect.EOF)
    assert nothing_runs()


def test_no_prompt_is_on_two_machines_and_no_module_is_one_line(tmp_path: Path) -> None:
    for words, said in (([KERNEL, "nope"], "nope"), (["7.9"], "no kernel '7.9'")):
        command = [*COMMAND[:4], *words, "--modules", str(REPOSITORY / "examples")]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT, stdin=subprocess.DEVNULL)
        assert answer.returncode == 2 and re.fullmatch(rf"kmodlab: .*{said}.*\n", answer.stderr), answer.stderr
