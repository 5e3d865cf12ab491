"""Made-up nights for the tests of `history`: rows, and whole series of them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kmodlab.history.row import Night, Row

BEGAN = datetime(2026, 1, 1, 2, tzinfo=UTC)


def run_id(night: int) -> str:
    """The name of the run of a night."""
    return f"{BEGAN + timedelta(days=night):%Y%m%dT%H%M%SZ}"


def row(night: int, verdict: str = "pass", **facts: object) -> Row:
    """A row of a cell of which nothing changes, unless said otherwise."""
    given = Row(run_id(night), "6.12-x86_64", "chardev", verdict, "log", "6.12.1", "a" * 16, "v1")
    return replace(given, reason="" if verdict == "pass" else "it broke", **facts)  # type: ignore[arg-type]


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
