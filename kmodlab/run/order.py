"""What a run was asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab.build import kbuild
from kmodlab.build.modules import SourceModule
from kmodlab.build.trees import Tree
from kmodlab.debian.archive import Resolved
from kmodlab.plan.boards import ResolvedBoard
from kmodlab.plan.catalog import Catalog, Module, load_catalog, merged


class Manner(BaseModel):
    """How a run proves each of its cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secureboot: bool = False
    """Run every kernel on a machine with Secure Boot, where it refuses what is not signed."""
    quick: bool = False
    """Life cycles only, no behaviour tests."""
    checks: bool = False
    """Boot every kernel so that it keeps marks in its memory, and have it check them whenever a module has gone."""
    fresh: bool = False
    """Restore the machine before every cell."""
    keep: bool = False
    """Leave the machine of a kernel's first cell that fails there as it is; what was to come after it there is skipped."""
    stress: int = 0
    """How often each module is loaded beside its tests, to see what it leaves behind each time."""
    faults: bool = False
    """Have each allocation of a module's load fail once, on kernels that can do that."""
    coverage: bool = False
    """Have modules count how often each of their lines runs, on kernels that can keep that."""
    build_limit: float = kbuild.BUILDING.seconds
    """Seconds that one build may take."""


class Order(BaseModel):
    """What was asked for, with the kernels' exact versions; kept as lab.json in the run folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tree: Tree
    """The folder of the modules, as it was when the run was planned: nothing reads it again."""
    modules: list[SourceModule]
    """What its Makefiles build."""
    only: list[str]
    kernels: dict[str, Resolved]
    """Those that the lab boots itself."""
    boards: dict[str, ResolvedBoard] = {}
    """Real machines, each with the kernel that runs on it."""
    manner: Manner = Manner()
    asked: str = ""
    """The modules in the words that named them, with absolute paths: what a cell is repeated with. Earlier orders do not say."""
    boards_from: Path | None = None
    """The inventory of the boards."""
    first: dict[str, list[str]] = {}
    """By kernel, the modules that are to be proved before the others: if time ends, it ends on what nobody doubts."""
    throwaway_key: bool = False
    """Sign with a key of this run's own, which no machine trusts."""

    @cached_property
    def sources(self) -> dict[str, SourceModule]:
        """What the folder's Makefiles build, by name."""
        return {module.name: module for module in self.modules}

    @cached_property
    def catalog(self) -> dict[str, Module]:
        """The catalog's entries of all modules of the folder, by name, needs first."""
        return {module.name: module for module in entries(self.tree, self.sources)}


def entries(tree: Tree, sources: dict[str, SourceModule]) -> list[Module]:
    """The catalog's entries of a folder's modules, needs first."""
    return catalog_of(tree).for_modules(sources, tree.folder)


def catalog_of(tree: Tree) -> Catalog:
    """A tree's catalog; of one that is made of several, all of theirs. LabError for the first fault."""
    if not tree.origins:
        return load_catalog(tree.folder, tree.origin)
    return merged({name: load_catalog(tree.folder / name, place) for name, place in tree.origins.items()})
