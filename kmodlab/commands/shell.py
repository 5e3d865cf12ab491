"""`kmodlab shell`: a prompt on a kernel's machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import BOARDS, MODULES, KernelWords, ModuleWords, modules_asked
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.packages import need_packages
from kmodlab.run.order import Manner
from kmodlab.stages.matrix import only_run
from kmodlab.stages.request import Request
from kmodlab.stages.visit import visit


@click.command("shell", cls=Command)
@click.argument("kernel", type=KernelWords())
@click.argument("module", type=ModuleWords(), default="")
@MODULES
@BOARDS
@click.option("--secureboot", is_flag=True, help="On a machine with Secure Boot, which refuses what is not signed.")
@click.option("--checks", is_flag=True, help="Have the kernel keep marks in its memory, as CHECKS=1 does.")
@click.option("--gdb", is_flag=True, help="Have QEMU wait for a debugger, which knows each module's symbols when it is loaded.")
def open_shell(kernel: str, module: str, modules: str, boards: Path, secureboot: bool, checks: bool, gdb: bool) -> None:
    """A root prompt on KERNEL's machine, restored from its snapshot, with the tree's modules there: built and signed.

    MODULE: only this one, and what it needs. Ctrl-D ends prompt and machine. What is piped in is run as a script.
    """
    need_packages()
    manner = Manner(secureboot=secureboot, checks=checks)
    request = Request(modules_asked(modules), kernels=kernel, only=module, boards=boards.absolute(), manner=manner)
    with only_run(beside=True), terminated_is_interrupted():
        status = visit(request, Console(highlight=False, stderr=True), gdb=gdb)
    sys.exit(min(status, 1))
