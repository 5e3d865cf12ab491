"""`kmodlab forget`: the caches' end."""

from __future__ import annotations

import click

from kmodlab.commands.group import Command
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.files import remove_tree
from kmodlab.stages.matrix import only_run


@click.command("forget", cls=Command)
def forget_caches() -> None:
    """Remove every cache: images, builds, snapshots. Keys are kept."""
    with only_run():
        remove_tree(cache_dir())
