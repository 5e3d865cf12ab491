"""One run of several shards: the folder that one machine would have made."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from kmodlab.build import coverage
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import regular_files, write_aside
from kmodlab.results.contract import Cell, Verdict
from kmodlab.results.events import FILE as EVENTS
from kmodlab.results.events import Follower
from kmodlab.results.folder import Plan, Planned, Run
from kmodlab.results.shard import Division
from kmodlab.run.lab import FILE, Lab

_Value = TypeVar("_Value")
COVERAGE = "coverage"
"""In a run's folder, a folder for each kernel on which lines were counted."""


@dataclass(frozen=True)
class Part:
    """A shard that was run."""

    lab: Lab
    division: Division

    @classmethod
    def open(cls, folder: Path) -> Part:
        """That of a run folder. LabError where it is none."""
        run = Run.open(folder)
        division = Division.of_run(run.folder)
        lab = Lab.open(run.folder)
        if not run.planned.cells == division.cells:
            raise LabError(
                f"{folder} does not owe the cells of shard {division.shard}", hint="it was changed: run this shard again"
            )
        return cls(lab, division)

    @property
    def run(self) -> Run:
        return self.lab.run

    @property
    def name(self) -> str:
        """What it is called in what is said of it."""
        return f"shard {self.division.shard} ({self.run.folder})"


def merge(folders: Sequence[Path], reports: Path) -> Lab:
    """Join shards to a new run in `reports`, whatever order they come in. What a shard that is missing owes is an error.

    The shards are not changed. LabError where they are not shards of one run.
    """
    parts = sorted((Part.open(folder) for folder in folders), key=lambda part: part.division.number)
    for part, other in pairwise(parts):
        _insist_on_one(part, other)
    _insist_on_releases(parts)
    first = parts[0]
    run = Run.create(reports, started=min(part.run.started for part in parts))
    order = first.lab.order.model_copy(
        update={
            "kernels": _first_come([part.lab.order.kernels for part in parts]),
            "boards": _first_come([part.lab.order.boards for part in parts]),
            "first": {},
        }
    )
    write_aside(run.folder / FILE, order.model_dump_json(indent=1))
    whole = _whole(parts)
    run.plan(whole.kernels, whole.modules, whole.cells, mode=whole.mode, revision=whole.revision)
    for part in parts:
        _bring(part, run)
    _bring_events(parts, run)
    _lose_missing(parts, run)
    _page_anew(parts, run)
    lab = Lab(run, order)
    lab.write_inventory()
    return lab


def _insist_on_one(part: Part, other: Part) -> None:
    """LabError where two are not shards of the same run, or the same shard twice. The first difference is named."""
    mine, others = part.division, other.division
    both = f"{part.name} and {other.name}"
    if mine.of != others.of:
        raise LabError(f"{both} are of different numbers of shards", hint="merge those that were asked for together")
    if mine.number == others.number:
        raise LabError(f"{both} are the same shard", hint="leave out one of them")
    versions = [(each.run.kmodlab, each.division.whole.revision) for each in (part, other)]
    told = [f"{version} {revision.kmodlab if revision else ''}".strip() for version, revision in versions]
    if told[0] != told[1]:
        raise LabError(f"{both} are of different versions of kmodlab: {told[0]} and {told[1]}", hint="run one of them again")
    if (mine.whole.revision, _sources(mine.whole)) != (others.whole.revision, _sources(others.whole)):
        raise LabError(f"{both} are of different sources of the modules", hint="run one of them again, with the other's")
    if mine.whole.mode != others.whole.mode:
        raise LabError(f"{both} were asked for in different words", hint="run one of them again, with the other's options")
    if mine.balanced_by != others.balanced_by:
        by = [f"the seconds of run {each.balanced_by}" if each.balanced_by else "a count of the cells" for each in (mine, others)]
        raise LabError(f"{both} were shared out by {by[0]} and {by[1]}", hint="give all of them the same --balance")
    if mine.owners != others.owners:
        raise LabError(
            f"{both} were shared out differently", hint="ask for the same kernels, modules and --balance in all of them"
        )


def _insist_on_releases(parts: Sequence[Part]) -> None:
    """A kernel is one release, whoever proved a part of its cells. LabError where it is not."""
    seen: dict[str, tuple[str, Part]] = {}
    for part in parts:
        for kernel in part.run.collect().kernels:
            release, other = seen.setdefault(kernel.id, (kernel.release, part)) if kernel.release else ("", part)
            if release != kernel.release:
                raise LabError(
                    f"{other.name} and {part.name} proved {kernel.id} on different releases: {release} and {kernel.release}",
                    hint="run the older again",
                )


def _sources(plan: Plan) -> list[tuple[str, str]]:
    return [(module.name, module.sha256) for module in plan.modules]


def _first_come(dictionaries: Sequence[dict[str, _Value]]) -> dict[str, _Value]:
    return {key: value for each in reversed(dictionaries) for key, value in each.items()}


def _whole(parts: Sequence[Part]) -> Plan:
    """What all owe together, each kernel and cell as the machine that proved it knew it."""
    whole = parts[0].division.whole
    known = [kernel for part in reversed(parts) for kernel in part.run.planned.kernels]
    kernels = {kernel.id: kernel for kernel in sorted(known, key=lambda kernel: bool(kernel.release))}
    cells = {(cell.kernel, cell.module): cell for part in parts for cell in part.run.planned.cells}
    return whole.model_copy(
        update={
            "kernels": [kernels.get(kernel.id, kernel) for kernel in whole.kernels],
            "cells": [cells.get((cell.kernel, cell.module), cell) for cell in whole.cells],
        }
    )


def _bring(part: Part, run: Run) -> None:
    """All that a shard knows of its cells."""
    source, target = part.run.folder, run.folder
    for kernel in part.run.planned.kernels:
        for folder in ("kernels", "doubts"):
            _add(source / folder / f"{kernel.id}.json", target / folder / f"{kernel.id}.json")
        for folder in ("cells", "logs", "artefacts", COVERAGE):
            for file in regular_files(source / folder / kernel.id, "*"):
                _add(file, target / file.relative_to(source), heading=f"== {part.name}\n" if file.suffix == ".log" else "")
    _add(source / "ansible.log", target / "ansible.log", heading=f"== {part.name}\n")
    recorded = {kernel.id: part.run.verdicts(kernel.id) for kernel in part.run.planned.kernels}
    for cell in part.run.collect().cells:
        if cell.verdict is Verdict.ERROR and cell.stage not in recorded[cell.kernel][cell.module]:
            run.lose(_ended(part, cell))
    if stopped := part.run.stopped:
        run.stop(f"shard {part.division.shard}: {stopped}")


def _ended(part: Part, cell: Cell) -> Cell:
    """A cell that nobody recorded, with the reason, where its shard did not come to its end and could not say so."""
    if part.run.published or part.run.stopped:
        return cell
    return cell.model_copy(update={"reason": f"shard {part.division.shard} was ended before it was done: {cell.reason}"})


def _add(file: Path, target: Path, *, heading: str = "") -> None:
    """Copy a file; what is there of another shard remains, and a log of both is one after the other."""
    if not file.is_file() or (target.exists() and not heading):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(file, target)
        return
    with target.open("ab") as writer, file.open("rb") as reader:
        writer.write(heading.encode())
        shutil.copyfileobj(reader, writer)


def _bring_events(parts: Sequence[Part], run: Run) -> None:
    """All events, in the order of their times."""
    events = [event for part in parts for event in Follower(part.run.folder / EVENTS).events()]
    lines = "".join(event.model_dump_json() + "\n" for event in sorted(events, key=lambda event: event.t))
    write_aside(run.folder / EVENTS, lines)


def _page_anew(parts: Sequence[Part], run: Run) -> None:
    """Of a kernel that was cut, each shard has made pages of its own modules' lines: all of them are counted here now."""
    proved = Counter(kernel.id for part in parts for kernel in part.run.planned.kernels)
    for kernel, times in proved.items():
        folder, tree = run.folder / COVERAGE / kernel, parts[0].lab.order.tree
        if times == 1 or not folder.is_dir():
            continue
        for page in folder.iterdir():
            if page.suffix != ".json":
                page.unlink()
        with suppress(LabError):  # where the sources are on the shards' machines alone, the counts remain
            coverage.pages(folder, tree)


def _lose_missing(parts: Sequence[Part], run: Run) -> None:
    """What nobody brought is an error, and says whose it is; what the catalog skips needs nobody."""
    division = parts[0].division
    there = {part.division.number for part in parts}
    for planned in run.planned.cells:
        number = division.owner(planned)
        if number not in there and not planned.skip:
            run.lose(_missing(planned, f"shard {number}/{division.of} is missing: run it, and merge all of them again"))


def _missing(planned: Planned, reason: str) -> Cell:
    return Cell(kernel=planned.kernel, module=planned.module, verdict=Verdict.ERROR, stage=planned.stages[0], reason=reason)
