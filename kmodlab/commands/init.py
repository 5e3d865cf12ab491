"""`kmodlab init`: a catalog and first tests for a tree that has none."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import KernelWords
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.packages import need_packages
from kmodlab.stages.introduction import introduce
from kmodlab.stages.matrix import only_run
from kmodlab.stages.request import Request

KERNEL = "6.12-x86_64"


@click.command("init", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--kernel", type=KernelWords(), default=KERNEL, show_default=True, help="The kernel to look at the modules on.")
@click.option("--force", is_flag=True, help="Write anew what is there already; the old files are kept as NAME.old.")
def write_first_files(folder: Path, kernel: str, force: bool) -> None:
    """Write a catalog and first tests for FOLDER's modules, of what one load of each shows: correct them.

    FOLDER (default: this one) has a Makefile; each module is built, loaded and unloaded on a machine of the lab. What it says,
    which files it makes and its parameters become catalog.yml and tests/test_NAME.py. Nothing that is there is written over.
    """
    need_packages()
    with only_run(beside=True), terminated_is_interrupted():
        introduce(Request(folder.absolute(), kernels=kernel), folder, Console(highlight=False), force=force)
