"""The page of a series: a folder of plain files that a browser opens from disk or from any server.

SITE/index.html page.css page.js      the same for every series
SITE/data/tonight.js nights.js        what the page shows at once: the matrix, what changed, a line for each night
SITE/data/modules/MODULE.js           a module's nights on all kernels, asked for when somebody opens a cell
SITE/logs/RUN/KERNEL/MODULE.log       logs of what did not pass, of the newest runs
SITE/tonight.json feed.xml badge.svg metrics.txt
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kmodlab.ground.files import remove_tree, write_aside
from kmodlab.history import mail, told
from kmodlab.history.row import Night, Row
from kmodlab.history.series import Series
from kmodlab.history.states import SIGNS, Cells, State, fold
from kmodlab.history.tonight import Change, Tonight

NIGHTS = 365
"""So many are on the page; the series keeps all."""
MOST_FLIPS = 15
PAGE = Path(__file__).with_name("page")
SAID = 160
"""Characters of a reason on the page of a cell."""


@dataclass
class _Past:
    """A cell's nights on the page."""

    line: str = ""
    said: dict[int, list[str]] = field(default_factory=dict)

    def at(self, night: int, row: Row, log: str) -> None:
        """Its next row; nights on which it was not are blank."""
        self.line = self.line.ljust(night) + SIGNS.get(row.verdict, "?")
        if row.verdict in ("fail", "error"):
            self.said[night] = [row.stage, row.reason[:SAID], log]

    @property
    def flips(self) -> int:
        """How often its verdict changed."""
        sure = [sign for sign in self.line if sign in ".F"]
        return sum(a != b for a, b in pairwise(sure))


def make(site: Path, series: Series, tonight: Tonight, *, url: str = "") -> None:
    """Write the page anew. LabError where the folder cannot be written."""
    (site / "data/modules").mkdir(parents=True, exist_ok=True)
    pasts: dict[tuple[str, str], _Past] = {}
    nights: list[dict[str, Any]] = []
    entries = []
    cells: Cells = {}
    for n, (night, rows) in enumerate(series.nights(NIGHTS)):
        before, cells = cells, fold(cells, rows)
        for row in rows:
            pasts.setdefault(row.cell, _Past()).at(n, row, _log(site, row))
        nights.append(_night(night, rows))
        then = Tonight(night, [Change(row, cells[row.cell], before.get(row.cell)) for row in rows], None, [])
        if n and (then.broken or then.fixed or then.newcomers):
            entries.append(told.entry(night, "\n".join(mail.body(then, None, "")), mail.subject(then)))
    by_module: dict[str, dict[str, _Past]] = {}
    for (kernel, module), past in pasts.items():
        by_module.setdefault(module, {})[kernel] = past
    for module, mine in by_module.items():
        _script(
            site / f"data/modules/{module}.js",
            f"kmodlab.module({json.dumps(module)}, ",
            _module(mine, module, tonight, len(nights)),
            ")",
        )
    _script(site / "data/nights.js", "window.kmodlab.nights = ", nights)
    _script(site / "data/tonight.js", "window.kmodlab = {}; window.kmodlab.tonight = ", _tonight(tonight, pasts, site))
    write_aside(site / "tonight.json", json.dumps(told.as_json(tonight), indent=1) + "\n")
    write_aside(site / "feed.xml", told.atom(entries[::-1], url))
    write_aside(site / "badge.svg", told.badge(tonight))
    write_aside(site / "metrics.txt", told.openmetrics(tonight, _ended(tonight.night)))
    for file in PAGE.iterdir():
        write_aside(site / file.name, file.read_bytes())


def keep_logs(site: Path, run: Path, rows: Iterable[Row]) -> None:
    """Copy the logs of what did not pass."""
    for row in rows:
        source = run / row.log
        if row.log and row.verdict in ("fail", "error") and source.is_file():
            target = site / "logs" / row.run / row.log.removeprefix("logs/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def forget_logs(site: Path, runs: Iterable[str]) -> None:
    """Remove the logs of all runs but these."""
    kept = set(runs)
    for folder in (site / "logs").glob("*"):
        if folder.name not in kept:
            remove_tree(folder)


def _log(site: Path, row: Row) -> str:
    path = f"logs/{row.run}/{row.log.removeprefix('logs/')}"
    return quote(path) if row.log and row.verdict in ("fail", "error") and (site / path).is_file() else ""


def _night(night: Night, rows: list[Row]) -> dict[str, Any]:
    count = Counter(row.verdict for row in rows)
    return {
        "run": night.run,
        "seconds": round(night.seconds),
        "count": [count[verdict] for verdict in ("pass", "fail", "error", "skip")],
        "failed": Counter(row.kernel for row in rows if row.verdict == "fail"),
        "troubles": len(night.troubles),
    }


def _module(mine: dict[str, _Past], module: str, tonight: Tonight, nights: int) -> dict[str, Any]:
    now = {each.row.kernel: each for each in tonight.changes if each.row.module == module}
    return {
        kernel: {
            "line": past.line.ljust(nights),
            "said": past.said,
            "flips": past.flips,
            "passes": now[kernel].memory.passes if kernel in now else 0,
            "release": now[kernel].row.release if kernel in now else "",
            "seconds": now[kernel].row.seconds if kernel in now else 0,
        }
        for kernel, past in sorted(mine.items())
    }


def _tonight(tonight: Tonight, pasts: dict[tuple[str, str], _Past], site: Path) -> dict[str, Any]:
    kernels = list(dict.fromkeys(each.row.kernel for each in tonight.changes))
    modules = list(dict.fromkeys(each.row.module for each in tonight.changes))
    states = list(State)
    found = {each.row.cell: each for each in tonight.changes}
    flips = sorted(((past.flips, cell) for cell, past in pasts.items() if past.flips > 1 and cell in found), reverse=True)

    def shown(kernel: str, module: str) -> list[Any] | None:
        each = found.get((kernel, module))
        return [states.index(each.memory.state), each.row.reason] if each else None

    first = (*tonight.broken, *tonight.newcomers, *tonight.fixed, *tonight.of(State.FLAKY), *tonight.known)
    return {
        "run": tonight.night.run,
        "seconds": tonight.night.seconds,
        "lab": tonight.night.revision or tonight.night.kmodlab,
        "headline": tonight.headline,
        "troubles": tonight.troubles,
        "stale": [str(each) for each in tonight.stale],
        "news": [_news(each, site) for each in first],
        "kernels": kernels,
        "modules": modules,
        "releases": tonight.night.releases,
        "states": [state.value for state in states],
        "cells": [[shown(kernel, module) for kernel in kernels] for module in modules],
        "files": sorted({module for _, module in pasts}),
        "flips": [[*cell, number] for number, cell in flips[:MOST_FLIPS]],
    }


def _news(change: Change, site: Path) -> list[str]:
    row, memory = change.row, change.memory
    words = f"at {row.stage}: {row.reason}" if row.verdict == "fail" else ""
    words += f" (fails since {memory.since})" if row.verdict == "fail" and memory.since != row.run else ""
    words += f"; {change.cause}" if change.cause else ""
    words += f"; {change.changed}" if change.changed else ""
    words += f"; known: {change.known}" if change.known else ""
    return [memory.state.value, row.kernel, row.module, words.removeprefix("; "), _log(site, row)]


def _ended(night: Night) -> float:
    began = datetime.fromisoformat(night.started) if night.started else datetime.fromtimestamp(0, UTC)
    return began.timestamp() + night.seconds


def _script(path: Path, before: str, data: object, after: str = "") -> None:
    """Data as a script: only ASCII, so that nothing of it depends on how it is served."""
    write_aside(path, f"{before}{json.dumps(data, separators=(',', ':'))}{after};\n")
