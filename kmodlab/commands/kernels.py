"""`kmodlab kernels`: what a run can be asked for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.options import BOARDS, JSON
from kmodlab.commands.tables import show_table
from kmodlab.debian import archive, roots
from kmodlab.debian.archive import Resolved
from kmodlab.plan.boards import load_boards
from kmodlab.plan.inventory import groups_of
from kmodlab.plan.kernels import INVENTORY, load_inventory

KINDS: tuple[Literal["build", "boot"], ...] = ("build", "boot")


@dataclass(frozen=True)
class KnownKernel:
    """A kernel of the inventory, and what of it is here already."""

    id: str
    line: str
    arch: str
    distribution: str
    firmware: str
    groups: list[str]
    """Of the inventory, but that of its architecture."""
    release: str
    """What the archive said when it was asked last; empty where it was not."""
    cached: list[str]
    """The images of that release which need not be made: build, boot."""


@dataclass(frozen=True)
class KnownBoard:
    """A board of the inventory."""

    id: str
    arch: str
    host: str
    """What SSH is told to connect to."""
    offers: list[str]
    """Hardware that modules may ask for."""


@click.command("kernels", cls=Command)
@BOARDS
@JSON
def show_kernels(boards: Path, as_json: bool) -> None:
    """List the kernels and boards that KERNELS may name. The archive is not asked, no board is either."""
    kernels, known = known_kernels(), known_boards(boards)
    if as_json:
        found = {"kernels": [asdict(each) for each in kernels], "boards": [asdict(each) for each in known]}
        click.echo(json.dumps(found, indent=1))
        return
    console = Console(highlight=False)
    show_table(console, ("kernel", "line", "arch", "release", "firmware", "groups", "images"), map(_kernel, kernels))
    console.print()
    show_table(console, ("board", "arch", "host", "offers"), ((e.id, e.arch, e.host, " ".join(e.offers)) for e in known))


def known_kernels() -> list[KnownKernel]:
    """All kernels of the inventory, in its order."""
    kernels, groups = load_inventory(), groups_of(INVENTORY)
    releases = archive.remembered(list(kernels.values()))
    return [
        KnownKernel(
            id=kernel.id,
            line=kernel.kernel_line,
            arch=kernel.kernel_arch,
            distribution=kernel.distribution,
            firmware=kernel.vm_firmware,
            groups=[name for name, hosts in groups.items() if kernel.id in hosts and name != kernel.kernel_arch],
            release=releases[kernel.id].release if kernel.id in releases else "",
            cached=cached(releases[kernel.id]) if kernel.id in releases else [],
        )
        for kernel in kernels.values()
    ]


def known_boards(inventory: Path) -> list[KnownBoard]:
    """All boards of an inventory, in its order."""
    return [KnownBoard(each.id, each.board_arch, each.host, sorted(each.offers)) for each in load_boards(inventory).values()]


def cached(resolved: Resolved) -> list[str]:
    """The kinds of images of a kernel that need not be made."""
    return [kind for kind in KINDS if roots.image_path(resolved, kind).exists()]


def _kernel(each: KnownKernel) -> tuple[str, ...]:
    images = "cached" if len(each.cached) == len(KINDS) else " ".join(each.cached)
    firmware = "" if each.firmware == "none" else each.firmware
    return each.id, each.line, each.arch, each.release, firmware, " ".join(each.groups), images
