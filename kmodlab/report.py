"""Results for people: a table in the terminal, a summary for a CI job, and a web page in the run folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader
from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from kmodlab.cache import write_aside
from kmodlab.results import EXPECTED_FAILURE, Cell, Results, Verdict, load_results, log_end

NAMES_SHOWN = 4
"""Of so many modules or kernels the names are given; of more, their number."""

PAGE_LOG_CHARACTERS = 6_000


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


def show(run_dir: Path, console: Console) -> Results:
    """Print a run's matrix, reasons and totals; write its index.html; add to `$GITHUB_STEP_SUMMARY` if set.

    LabError where there is no run. The results are returned for their `exit_status`.
    """
    results = load_results(run_dir)
    for table in matrix(results, console):
        console.print(table)
        console.print()
    for remark in remarks(results):
        log = f"  [{run_dir / remark.first.log}]" if remark.first.log else ""
        _print(console, f"{_glyph(remark.outcome, console)} {remark.line}{log}", MARKS[remark.outcome].style)
    _print(console, totals(results), "bold")
    folder = run_dir.resolve()
    write_aside(folder / "index.html", page(results, folder))
    _print(console, f"{run_dir / 'index.html'}", "")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown(results))
    return results


def _print(console: Console, line: str, style: str) -> None:
    """A line that is never wrapped nor taken for markup, and that the terminal's encoding can carry."""
    line = line.encode(console.encoding, "backslashreplace").decode(console.encoding)
    console.print(Text(line, style=style), soft_wrap=True)


def _glyph(kind: str, console: Console) -> str:
    return MARKS[kind].plain if console.options.ascii_only else MARKS[kind].glyph


def _list(names: Sequence[str], noun: str) -> str:
    return ", ".join(names) if len(names) <= NAMES_SHOWN else f"{len(names)} {noun}"


def short_names(results: Results) -> dict[str, str]:
    """Kernel ids for headings: without the architecture where all have the same."""
    arches = {kernel.arch for kernel in results.kernels}
    drop = f"-{arches.pop()}" if len(arches) == 1 else ""
    return {kernel.id: kernel.id.removesuffix(drop) or kernel.id for kernel in results.kernels}


def matrix(results: Results, console: Console) -> Iterator[Table]:
    """Modules down, kernels across: one table, or several where the kernels do not fit side by side."""
    found = {(cell.module, cell.kernel): outcome(cell) for cell in results.cells}
    headings = {kernel: name.replace("-", "\n") for kernel, name in short_names(results).items()}
    longest = max((len(module.name) for module in results.modules), default=0)
    names_width = min(longest, max(8, console.width // 3))
    for kernels in _side_by_side(headings, console.width - names_width):
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        overflow: OverflowMethod = "crop" if console.options.ascii_only else "ellipsis"
        table.add_column("", width=names_width, no_wrap=True, overflow=overflow)
        for kernel in kernels:
            table.add_column(headings[kernel], justify="center", no_wrap=True, vertical="bottom")
        for module in results.modules:
            marks = [found.get((module.name, kernel)) for kernel in kernels]
            table.add_row(module.name, *(Text(_glyph(m, console), MARKS[m].style) if m else "" for m in marks))
        yield table


def _side_by_side(headings: dict[str, str], width: int) -> Iterator[list[str]]:
    """Kernels in groups whose columns, each with a blank before it, fit into `width`."""
    group: list[str] = []
    used = 0
    for kernel, heading in headings.items():
        needed = max(len(line) for line in heading.split("\n")) + 1
        if group and used + needed > width:
            yield group
            group, used = [], 0
        group.append(kernel)
        used += needed
    if group:
        yield group


def remarks(results: Results) -> list[Remark]:
    """What is to be said of cells that did not simply pass: the worst first, the same thing once."""
    short = short_names(results)
    kernels_of: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in results.cells:
        if (kind := outcome(cell)) != "pass":
            kernels_of.setdefault((kind, cell.stage, _why(cell), cell.module), []).append(cell)
    modules_of: dict[tuple[str, str, str, tuple[str, ...]], list[Cell]] = {}
    for (kind, stage, why, _), cells in kernels_of.items():
        kernels = tuple(short[cell.kernel] for cell in cells)
        modules_of.setdefault((kind, stage, why, kernels), []).append(cells[0])
    found = [
        Remark(kind, stage, why, tuple(cell.module for cell in cells), kernels, cells[0])
        for (kind, stage, why, kernels), cells in modules_of.items()
    ]
    order = ["fail", "error", "xfail", "skip"]
    return sorted(found, key=lambda remark: order.index(remark.outcome))


def _why(cell: Cell) -> str:
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


MARKDOWN_MARKS = {"pass": "✅", "xfail": "☑️", "fail": "❌", "error": "⚠️", "skip": "⏭️"}


def markdown(results: Results) -> str:
    """The same for `$GITHUB_STEP_SUMMARY`."""
    short = short_names(results)
    found = {(cell.module, cell.kernel): MARKDOWN_MARKS[outcome(cell)] for cell in results.cells}
    lines = [f"## kmodlab: {totals(results)}", ""]
    lines += [f"- {MARKDOWN_MARKS[remark.outcome]} {_markdown(remark.line)}" for remark in remarks(results)]
    lines += ["", "| | " + " | ".join(short.values()) + " |", "|---|" + ":-:|" * len(short)]
    for module in results.modules:
        marks = (found.get((module.name, kernel), " ") for kernel in short)
        lines.append(f"| {_markdown(module.name)} | " + " | ".join(marks) + " |")
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def page(results: Results, folder: Path) -> str:
    """The run's index.html: one file that needs no other, but for the logs that it links to."""
    environment = Environment(loader=PackageLoader("kmodlab"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["duration"] = duration
    environment.filters["link"] = quote
    return environment.get_template("index.html").render(
        results=results,
        marks=MARKS,
        short=short_names(results),
        totals=totals(results),
        cells={(cell.module, cell.kernel): cell for cell in results.cells},
        outcome=outcome,
        why=_why,
        remarks=[(remark, log_end(folder, remark.first, PAGE_LOG_CHARACTERS)) for remark in remarks(results)],
        unhappy={cell.module for cell in results.cells if cell.verdict in (Verdict.FAIL, Verdict.ERROR)},
    )
