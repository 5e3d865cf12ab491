"""`kmodlab forget`: the caches' end."""

from __future__ import annotations

import click

from kmodlab.commands.group import Command
from kmodlab.commands.options import Size, Span
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.files import remove_tree
from kmodlab.ground.forgetting import forget
from kmodlab.stages.matrix import only_run


@click.command("forget", cls=Command)
@click.option("--older", type=Span(), help="Only what was not used for so long, like 30d.")
@click.option(
    "--to", type=Size(), help="Only as much as it takes to have no more than that, like 20G: what was not used for longest."
)
def forget_caches(older: float | None, to: int | None) -> None:
    """Remove every cache, or with options what is not used: images, builds, snapshots. Keys are kept."""
    with only_run():
        if older is None and to is None:
            remove_tree(cache_dir())
            return
        gone = forget(cache_dir(), older=older, most=to)
    click.echo(f"{len(gone)} removed, {sum(each.size for each in gone) / (1 << 30):.1f} GiB")
