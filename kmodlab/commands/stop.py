"""`kmodlab stop`: the end of what a run left behind."""

from __future__ import annotations

import click

from kmodlab.commands.group import Command
from kmodlab.machine.runtime import stop_all
from kmodlab.stages.matrix import only_run


@click.command("stop", cls=Command)
def stop_vms() -> None:
    """Stop every VM that a run of yours left behind."""
    with only_run():
        stopped = stop_all()
    click.echo(f"stopped {stopped} VMs" if stopped else "no VM of kmodlab is running")
