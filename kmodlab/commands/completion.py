"""`kmodlab completion`: what a shell reads to complete commands, options, kernels and modules."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from kmodlab.commands.group import Command

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
PROGRAM = "kmodlab"


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def show_completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion of kmodlab: eval "$(kmodlab completion bash)" in ~/.bashrc."""
    click.echo(SHELLS[shell](context.find_root().command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
