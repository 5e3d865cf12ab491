"""`kmodlab lint-c`: what the compiler and sparse say of kmodlab's own C."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from kmodlab.build import lint_c
from kmodlab.commands.group import Command


@click.command("lint-c", cls=Command)
@click.option(
    "--kernels", default="", help="As for matrix; those whose build root is there already, and 6.12 in any case, by default."
)
def lint_c_sources(kernels: str) -> None:
    """Check the C sources with W=1 and sparse, in each kernel's build root."""
    console = Console(highlight=False)
    found = lint_c.lint_all(kernels)
    for line in found:
        console.print(line, markup=False, soft_wrap=True)
    sys.exit(1 if found else 0)
