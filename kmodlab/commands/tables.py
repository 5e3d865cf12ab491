"""Lists for people: columns that are never cut, however narrow the terminal is."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

WIDEST = 1000
"""Characters: as wide as a list may ever get."""


def show_table(console: Console, headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a list with its headings."""
    table = Table(*headings, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        table.add_row(*row)
    width = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    Console(file=console.file, width=max(width, console.width), highlight=False, markup=False).print(table)
