"""What is to be said of a run's cells, in few lines, however it is shown: marks, remarks, totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmodlab.results.contract import EXPECTED_FAILURE, Cell, Results

NAMES_SHOWN = 4
"""Of so many modules or kernels the names are given; of more, their number."""


@dataclass(frozen=True)
class Mark:
    """How one outcome looks: `glyph` where the terminal knows UTF-8, else `plain`; `style` is rich's."""

    word: str
    glyph: str
    plain: str
    style: str


MARKS = {
    "pass": Mark("passed", "✔", ".", "green"),
    "xfail": Mark("failed as expected", "x", "x", "cyan"),
    "fail": Mark("failed", "✘", "F", "bold red"),
    "error": Mark("in error", "!", "!", "bold yellow"),
    "skip": Mark("skipped", "–", "-", "dim"),  # noqa: RUF001 - a dash that is as wide as the others
}


def outcome(cell: Cell) -> str:
    """A cell's verdict, with expected failures told from other passes: a key of MARKS."""
    return "xfail" if cell.failed_as_expected else cell.verdict.value


@dataclass(frozen=True)
class Remark:
    """Something that is to be said of one cell, or at once of the same modules on the same kernels."""

    outcome: str
    stage: str
    reason: str
    modules: tuple[str, ...]
    kernels: tuple[str, ...]
    first: Cell

    @property
    def where(self) -> str:
        """`chardev on 6.1, 6.12`"""
        return f"{_list(self.modules, 'modules')} on {_list(self.kernels, 'kernels')}"

    @property
    def line(self) -> str:
        """Where, at which stage, and why; a skip has no stage."""
        stage = "" if self.outcome == "skip" else f" at {self.stage}"
        return f"{self.where}{stage}: {self.reason}"


def _list(names: Sequence[str], noun: str) -> str:
    return ", ".join(names) if len(names) <= NAMES_SHOWN else f"{len(names)} {noun}"


def short_names(results: Results) -> dict[str, str]:
    """Kernel ids for headings: without the architecture where all have the same."""
    arches = {kernel.arch for kernel in results.kernels}
    drop = f"-{arches.pop()}" if len(arches) == 1 else ""
    return {kernel.id: kernel.id.removesuffix(drop) or kernel.id for kernel in results.kernels}


def remarks(results: Results) -> list[Remark]:
    """What is to be said of cells that did not simply pass: the worst first, the same thing once."""
    short = short_names(results)
    kernels_of: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in results.cells:
        if (kind := outcome(cell)) != "pass":
            kernels_of.setdefault((kind, cell.stage, why(cell), cell.module), []).append(cell)
    modules_of: dict[tuple[str, str, str, tuple[str, ...]], list[Cell]] = {}
    for (kind, stage, reason, _), cells in kernels_of.items():
        kernels = tuple(short[cell.kernel] for cell in cells)
        modules_of.setdefault((kind, stage, reason, kernels), []).append(cells[0])
    found = [
        Remark(kind, stage, reason, tuple(cell.module for cell in cells), kernels, cells[0])
        for (kind, stage, reason, kernels), cells in modules_of.items()
    ]
    order = ["fail", "error", "xfail", "skip"]
    return sorted(found, key=lambda remark: order.index(remark.outcome))


def why(cell: Cell) -> str:
    """Why a cell got its verdict: the failure that was expected, where one was."""
    return next((check.reason for check in cell.checks if check.name == EXPECTED_FAILURE), cell.reason)


def totals(results: Results) -> str:
    """`40 passed, 1 failed, 1 skipped: 42 cells in 3 min 20 s`"""
    kinds = [outcome(cell) for cell in results.cells]
    parts = [f"{kinds.count(kind)} {mark.word}" for kind, mark in MARKS.items() if kind in kinds]
    return f"{', '.join(parts) or 'nothing ran'}: {len(kinds)} cells in {duration(results.seconds)}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `0.4 s`, `41 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
