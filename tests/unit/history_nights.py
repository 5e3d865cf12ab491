"""Made-up nights for the tests of `history`: rows, and whole series of them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from kmodlab.history import site
from kmodlab.history.row import Night, Row
from kmodlab.history.series import Series
from kmodlab.history.tonight import tonight

BEGAN = datetime(2026, 1, 1, 2, tzinfo=UTC)


def run_id(night: int) -> str:
    """The name of the run of a night."""
    return f"{BEGAN + timedelta(days=night):%Y%m%dT%H%M%SZ}"


def row(night: int, verdict: str = "pass", **facts: object) -> Row:
    """A row of a cell of which nothing changes, unless said otherwise."""
    given = Row(run_id(night), "6.12-x86_64", "chardev", verdict, "log", "6.12.1", "a" * 16, "v1")
    return replace(given, **{"reason": "" if verdict == "pass" else "it broke", **facts})  # type: ignore[arg-type]


def night(number: int, rows: list[Row], **facts: object) -> Night:
    """The night of these rows."""
    began = f"{BEGAN + timedelta(days=number):%Y-%m-%dT%H:%M:%SZ}"
    releases = {each.kernel: each.release for each in rows}
    return replace(Night(run_id(number), began, 60.0, "1.0", "v1", "f" * 16, {}, releases), **facts)  # type: ignore[arg-type]


def replay(seed: int, nights: int = 60, breaks: int = 12, flakes: int = 20) -> tuple[list[list[Row]], dict[tuple[str, str], int]]:
    """Sixty nights of four kernels and thirty modules, with breaks planted in cells of their own, and flakes in others.

    Every kernel is updated every week or so, every module edited once in a while. A break comes with one of these, lasts two to
    nine nights, and is mended by an edit. A flake comes whenever it likes; its second try passes. With the night of each break.
    """
    chance = random.Random(seed)  # noqa: S311 - a replay is to be the same each time
    cells = [(kernel, f"m{module}") for kernel in ("5.10", "6.1", "6.12", "7.3") for module in range(30)]
    new_kernel = {k: sorted(chance.sample(range(5, nights), 8)) for k in ("5.10", "6.1", "6.12", "7.3")}
    edits = {f"m{m}": set(chance.sample(range(5, nights), 3)) for m in range(30)}
    chosen = chance.sample(cells, breaks + flakes)
    planted: dict[tuple[str, str], int] = {}
    until: dict[tuple[str, str], int] = {}
    for number, cell in enumerate(chosen[:breaks]):
        if number % 2:
            at = chance.choice(new_kernel[cell[0]])
        else:
            at = chance.randrange(5, nights - 1)
            edits[cell[1]].add(at)
        planted[cell], until[cell] = at, at + chance.randrange(2, 10)
        edits[cell[1]].add(until[cell])
    flaked = {cell: chance.randrange(5, nights) for cell in chosen[breaks:]}
    story = []
    for n in range(nights):
        rows = []
        for kernel, module in cells:
            cell = (kernel, module)
            broken = cell in planted and planted[cell] <= n < until[cell]
            flake = flaked.get(cell) == n
            release = f"{kernel}.{sum(each <= n for each in new_kernel[kernel])}"
            digest = f"{sum(each <= n for each in edits[module]):016}"
            verdict = "fail" if broken or flake else "pass"
            again = "fail" if broken else "pass" if flake else ""
            rows.append(row(n, verdict, kernel=kernel, module=module, release=release, digest=digest, again=again))
        story.append(rows)
    return story, planted


KERNELS = [f"{line}-{arch}" for line in ("5.10", "6.1", "6.12", "7.2", "7.3") for arch in ("x86_64", "arm64", "armhf")]
MODULES = [f"module{n:03}" for n in range(100)]


def _large(n: int, nights: int, chance: random.Random) -> list[Row]:
    rows = []
    for kernel in KERNELS:
        for number, module in enumerate(MODULES):
            news, old = (number, kernel) == (7, "6.12-x86_64"), (number, kernel) == (8, "6.12-x86_64")
            broken = (news and n == nights - 1) or (old and n >= nights - 30)
            verdict = "fail" if broken or (number == 9 and chance.random() < 0.05) else "skip" if number == 50 else "pass"
            verdict = "error" if kernel == "7.3-armhf" and n == nights - 1 and number > 90 else verdict
            reason = "" if verdict == "pass" else "</script><img src=x onerror=alert(1)> insmod: it broke"
            release = f"{kernel.split('-')[0]}.{n // 20}"
            log = f"logs/{kernel}/{module}.log"
            said = (verdict, "load", release, ("b" if broken else "a") * 16, "v1", reason)
            rows.append(Row(run_id(n), kernel, module, *said, seconds=1.5, log=log))
    return rows


def large_site(folder: Path, nights: int) -> Path:
    """The page of fifteen kernels and a hundred modules: one cell broke tonight, one a month ago, one module is flaky."""
    series, chance = Series(folder), random.Random(1)  # noqa: S311 - the same each time
    rows: list[Row] = []
    for n in range(nights):
        rows = _large(n, nights, chance)
        series.append(night(n, rows, troubles=["the archive was not reached"] if n == nights - 1 else []), rows)
    (folder / "run/logs/6.12-x86_64").mkdir(parents=True)
    (folder / "run/logs/6.12-x86_64/module007.log").write_text("== load: fail\nBUG: it broke\n")
    site.keep_logs(folder / "site", folder / "run", rows)
    newest = tonight(series, [], date(2026, 12, 1))
    assert newest
    site.make(folder / "site", series, newest, url="https://example.org/nightly")
    return folder / "site"
