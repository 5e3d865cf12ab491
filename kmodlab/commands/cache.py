"""`kmodlab cache export`, `kmodlab cache import`: what was made on one machine, for another."""

from __future__ import annotations

from pathlib import Path

import click

from kmodlab.commands.group import Command, Commands
from kmodlab.commands.options import KernelWords
from kmodlab.debian import handover
from kmodlab.ground.packages import need_packages
from kmodlab.plan.kernels import load_inventory, select
from kmodlab.stages.matrix import only_run


@click.group("cache", cls=Commands)
def cache() -> None:
    """Hand what was made on one machine to another: build roots, kernels of the lab's own, builds, and what the archive said."""


@cache.command("export", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("kernels", type=KernelWords(), nargs=-1)
def export_cache(file: Path, kernels: tuple[str, ...]) -> None:
    """Pack what the cache has of KERNELS, or of all, into FILE, and print its SHA-256.

    What has a key in it stays: keys, userlands, boot images, snapshots.
    """
    need_packages()
    with only_run():
        packed = handover.export(select(kernels or ["all"], load_inventory(), []), file.absolute())
    size = file.stat().st_size / (1 << 20)
    click.echo(f"{len(packed.kernels)} kernels, {packed.entries} entries, {size:.0f} MiB: {' '.join(packed.kernels)}")
    click.echo(f"{packed.sha256}  {file}")


@cache.command("import", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--sha256", default="", metavar="DIGEST", help="What `kmodlab cache export` has printed: any other file is refused."
)
def import_cache(file: Path, sha256: str) -> None:
    """Take what FILE holds into the cache. All of it is checked first: what is damaged or for other machines is refused.

    Whose builds one takes one must trust, as whoever gives one a program.
    """
    need_packages()
    with only_run():
        brought = handover.bring(file.absolute(), sha256=sha256)
    click.echo(f"{brought.new} new, {brought.known} were here: {' '.join(brought.kernels)}")
