"""Results for people who look at a terminal or a CI job: the table, what is to be said of it, the summary."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from kmodlab.ground.files import write_aside
from kmodlab.report.page import page
from kmodlab.report.remarks import MARKS, NAMES_SHOWN, notices, outcome, reached, remarks, retried, short_names, totals
from kmodlab.results.contract import Results
from kmodlab.results.folder import load_results

SUMMARY_BYTES = 1000 << 10
"""GitHub takes 1024 KiB of a step's summary, and of a longer one nothing at all."""
MOST_MEANINGS = 3
"""Of a cell's reports, so many are explained below its reason; the page has all."""


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
        for meaning in remark.meanings[:MOST_MEANINGS]:
            _print(console, f"    {meaning}", "")
        for command in remark.again[:NAMES_SHOWN]:
            _print(console, f"    again: {command}{_elsewhere(run_dir)}", "dim")
        if len(remark.again) > NAMES_SHOWN:
            _print(console, f"    and so for {len(remark.again) - NAMES_SHOWN} more, MODULE@KERNEL", "dim")
    for line in retried(results):
        _print(console, line, "")
    if notes := notices(results):
        _print(console, f"notices in the kernels' logs, which are no faults: {len(notes)}; the page has them", "dim")
    if counted := reached(results):
        _print(
            console, f"lines of C that tests reach were counted in {len(counted)} cells; the page says which they do not", "dim"
        )
    _print(console, totals(results), "bold")
    folder = run_dir.resolve()
    write_aside(folder / "index.html", page(results, folder))
    _print(console, f"{run_dir / 'index.html'}", "")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown(results, SUMMARY_BYTES - file.tell()))
    return results


def _elsewhere(run_dir: Path) -> str:
    """What a command must be told of results that are not where it looks by itself."""
    reports = run_dir.resolve().parent
    return "" if reports == Path("reports").resolve() else f" --reports {shlex.quote(str(reports))}"


def _print(console: Console, line: str, style: str) -> None:
    """A line that is never wrapped nor taken for markup, and that the terminal's encoding can carry."""
    line = line.encode(console.encoding, "backslashreplace").decode(console.encoding)
    console.print(Text(line, style=style), soft_wrap=True)


def _glyph(kind: str, console: Console) -> str:
    return MARKS[kind].plain if console.options.ascii_only else MARKS[kind].glyph


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


MARKDOWN_MARKS = {"pass": "✅", "loads": "✔️", "xfail": "☑️", "fail": "❌", "error": "⚠️", "skip": "⏭️"}


def markdown(results: Results, most: int = SUMMARY_BYTES) -> str:
    """The same for `$GITHUB_STEP_SUMMARY`, in no more than `most` bytes: what is worst is first, and what is left out is said."""
    short = short_names(results)
    found = {(cell.module, cell.kernel): MARKDOWN_MARKS[outcome(cell)] for cell in results.cells}
    lines = [f"## kmodlab: {totals(results)}", ""]
    lines += [f"- {MARKDOWN_MARKS[remark.outcome]} {_markdown(remark.line)}" for remark in remarks(results)]
    lines += ["", "| | " + " | ".join(short.values()) + " |", "|---|" + ":-:|" * len(short)]
    for module in results.modules:
        marks = (found.get((module.name, kernel), " ") for kernel in short)
        lines.append(f"| {_markdown(module.name)} | " + " | ".join(marks) + " |")
    return _within(lines, most)


def _within(lines: list[str], most: int) -> str:
    cut = "- the rest is left out, for GitHub takes no more: see the page"
    kept, room = [], most - len(cut.encode()) - 2
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            kept.append(cut)
            break
        kept.append(line)
    return "\n".join(kept) + "\n" if most > len(cut.encode()) + 2 else ""


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)
