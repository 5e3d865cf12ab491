"""What a person asks a run for, in the words of the command line; planning makes an order of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kmodlab.plan.boards import INVENTORY
from kmodlab.results.contract import Results
from kmodlab.results.shard import Shard
from kmodlab.run.order import Manner


@dataclass(frozen=True)
class Request:
    """Which cells, and how they are to be proved."""

    modules: str | Path
    """A tree, a source file, a `-dkms` package, or several of these."""
    kernels: str = ""
    """Kernels and boards, "6.1 6.12-arm64"; empty for all of `fleet`."""
    fleet: str = "fleet"
    """The inventory's group of kernels to take where none is named."""
    only: str = ""
    """Modules by name, "hello-1 chardev"; empty for all."""
    refresh: bool = False
    """Ask the archive for the newest versions now."""
    boards: Path = INVENTORY
    """The inventory of boards."""
    manner: Manner = field(default_factory=Manner)
    settled: frozenset[tuple[str, str, str, str]] = frozenset()
    """Cells that passed before, by kernel, its release, module and the begin of its digest: all others go first."""
    changed: bool = False
    """Leave out what is settled."""
    shard: Shard | None = None
    """Prove this part of the cells only."""
    measured: Results | None = None
    """The run by whose seconds the cells are shared out; without one, they are counted."""
    throwaway_key: bool = False
    """Sign with a key of this run's own, which no machine trusts and which ends with the run's folder: for code that is to load
    nowhere else."""
