"""A shard: the part of a run's cells that one machine proves, so that several prove them all (docs/scale.md).

Who proves what is decided by each machine for itself, and must come out the same on all of them: by the cells, by what belongs
together, and by the seconds that an earlier run took, where all are given the same one. It is written down, so that whoever
merges the shards sees whether they agree.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import model_validator

from kmodlab.ground.errors import LabError
from kmodlab.results.contract import Model, Name, Results
from kmodlab.results.folder import Plan, Planned, read, write

FILE = "shard.json"
CELL = 3000
"""Milliseconds that a cell counts for of which nothing is known: about what an example's takes, emulated."""
COLUMN = 20_000
"""Milliseconds that a kernel costs each machine that proves any of its cells: it is booted, modules are built and brought."""
FINEST = 4
"""Kernels are cut into pieces of no less than this part of what a shard would have if all had the same."""
WORTH = 0.9
"""A kernel is cut where the longest shard becomes no longer than this part of what it was: cutting costs all of them work."""
_SHARD = re.compile(r"(\d{1,4})/(\d{1,4})")


@dataclass(frozen=True)
class Shard:
    """One of so many: 2/5."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/5". ValueError for all that is no shard."""
        found = _SHARD.fullmatch(text.strip())
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"{text!r} is no shard: it is N/M, with N from 1 to M, as 2/5")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class Division(Model):
    """The file shard.json of a run: which shard it is, and of what."""

    number: int
    of: int
    balanced_by: str = ""
    """The run by whose seconds; empty where cells were counted."""
    whole: Plan
    """All that the shards owe together, as this one's machine knew it."""
    owners: dict[Name, dict[Name, int]]
    """By kernel and module, the number of the shard that owes the cell."""

    @model_validator(mode="after")
    def _each_has_an_owner(self) -> Self:
        for cell in self.whole.cells:
            if not 1 <= self.owners.get(cell.kernel, {}).get(cell.module, 0) <= self.of:
                raise ValueError(f"nobody owes {cell.module} on {cell.kernel}")
        return self

    @property
    def shard(self) -> Shard:
        return Shard(self.number, self.of)

    def owner(self, cell: Planned) -> int:
        """The number of the shard that owes a cell."""
        return self.owners[cell.kernel][cell.module]

    @property
    def cells(self) -> list[Planned]:
        """Those that this shard owes."""
        return [cell for cell in self.whole.cells if self.owner(cell) == self.number]

    def write(self, folder: Path) -> None:
        """Keep it in its run's folder."""
        write(folder / FILE, self)

    @classmethod
    def of_run(cls, folder: Path) -> Division:
        """That of a run. LabError where it is none."""
        try:
            return read(folder / FILE, cls)
        except FileNotFoundError as problem:
            raise LabError(
                f"{folder} is no shard: its run was asked for all its cells",
                hint="shards are made by `kmodlab matrix --shard N/M`",
            ) from problem


def bound(names: Sequence[str], needs: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The sets of modules of which none needs any of another set; each module in the order of `names`."""
    together = {name: {name} for name in names}
    for name in names:
        for need in together.keys() & set(needs.get(name, ())):
            joined = together[name] | together[need]
            together |= dict.fromkeys(joined, joined)
    return [[name for name in names if name in group] for group in {id(group): group for group in together.values()}.values()]


def costs(cells: Iterable[Planned], measured: Results | None) -> dict[tuple[str, str], int]:
    """Milliseconds that each cell counts for, by kernel and module.

    Where the earlier run had no such cell, its module's mean elsewhere; else the mean of all. A skip there took no time.
    """
    known = {(cell.kernel, cell.module): round(1000 * cell.seconds) for cell in measured.cells} if measured else {}
    elsewhere: dict[str, list[int]] = {}
    for (_, module), cost in known.items():
        if cost:
            elsewhere.setdefault(module, []).append(cost)
    usual = _mean([cost for each in elsewhere.values() for cost in each], CELL)
    return {
        (cell.kernel, cell.module): known.get((cell.kernel, cell.module), _mean(elsewhere.get(cell.module, []), usual))
        for cell in cells
    }


def divide(
    columns: Mapping[str, Sequence[Collection[str]]],
    of: int,
    cost: Mapping[tuple[str, str], int],
    uncut: Collection[str] = (),
) -> dict[str, dict[str, int]]:
    """The number of the shard for each cell, by kernel and module, so that the longest shard is as short as it goes.

    `columns` has for each kernel the sets of modules that stay together. A kernel is cut only where that makes the longest shard
    shorter though it costs `COLUMN` once more; those in `uncut` never are. The same for the same arguments, on every machine.
    """
    best: tuple[int, list[list[_Piece]]] | None = None
    for fineness in range(FINEST + 1):
        shards = _spread(_pieces(columns, of, cost, uncut, fineness), of)
        longest = max(sum(piece.cost for piece in shard) for shard in shards)
        if best is None or longest <= WORTH * best[0]:
            best = longest, shards
    owners: dict[str, dict[str, int]] = {kernel: {} for kernel in columns}
    for number, shard in enumerate(best[1] if best else [], 1):
        for piece in shard:
            owners[piece.kernel] |= dict.fromkeys(piece.modules, number)
    return owners


@dataclass(frozen=True)
class _Piece:
    kernel: str
    modules: tuple[str, ...]
    cost: int


def _pieces(
    columns: Mapping[str, Sequence[Collection[str]]],
    of: int,
    cost: Mapping[tuple[str, str], int],
    uncut: Collection[str],
    fineness: int,
) -> list[_Piece]:
    """The columns, those cut that are longer than one part in `fineness` of a fair share; none is for 0."""
    all_of_it = sum(cost[kernel, module] for kernel, groups in columns.items() for group in groups for module in group)
    found: list[_Piece] = []
    for kernel, groups in columns.items():
        single = [_Piece(kernel, tuple(group), sum(cost[kernel, module] for module in group)) for group in groups]
        length = sum(piece.cost for piece in single)
        number = 1 if kernel in uncut or not length else max(1, min(len(single), -(-length * of * fineness // all_of_it)))
        for bundle in _spread(single, number):
            if modules := tuple(module for piece in bundle for module in piece.modules):
                found.append(_Piece(kernel, modules, COLUMN + sum(piece.cost for piece in bundle)))
    return found


def _spread(pieces: Sequence[_Piece], bins: int) -> list[list[_Piece]]:
    """Each piece, the longest first, to whoever has least by then (Graham's LPT rule: at most a third over the best there is)."""
    found: list[list[_Piece]] = [[] for _ in range(bins)]
    load = [0] * bins
    for _, place in sorted((-piece.cost, place) for place, piece in enumerate(pieces)):
        least = load.index(min(load))
        found[least].append(pieces[place])
        load[least] += pieces[place].cost
    return found


def _mean(numbers: Sequence[int], default: int) -> int:
    return sum(numbers) // len(numbers) if numbers else default
