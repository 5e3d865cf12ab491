"""`kmodlab bench`: what the lab costs."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import JSON, KERNELS, MODULES, modules_asked
from kmodlab.ground.packages import need_packages
from kmodlab.stages.bench import bench, table


@click.command("bench", cls=Command)
@KERNELS
@MODULES
@JSON
def show_bench(kernels: str, modules: str, as_json: bool) -> None:
    """Measure what the lab costs, as ratios to what kernels and compiler cost themselves."""
    need_packages()
    figures = bench(kernels, modules_asked(modules), Console(stderr=True, highlight=False))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in figures], indent=1))
    else:
        Console(highlight=False).print(table(figures))
