"""The results as KTAP, version 1 (docs.kernel.org/dev-tools/ktap.html): kernels, and in each its modules."""

from __future__ import annotations

from kmodlab.results.contract import Cell, Results, Verdict


def ktap(results: Results) -> str:
    """A cell that the lab could not prove is `not ok`, and says so: KTAP has no word for it."""
    lines = ["KTAP version 1", f"1..{len(results.kernels)}"]
    for number, kernel in enumerate(results.kernels, 1):
        cells = [cell for cell in results.cells if cell.kernel == kernel.id]
        lines += ["  KTAP version 1", f"  # Subtest: {kernel.id}", f"  1..{len(cells)}"]
        for n, cell in enumerate(cells, 1):
            lines += [f"  {line}" for line in _cell(n, cell)]
        lines.append(_joined(number, kernel.id, cells))
    return "\n".join(lines) + "\n"


def _cell(number: int, cell: Cell) -> list[str]:
    if cell.verdict is Verdict.SKIP:
        return [f"ok {number} {cell.module} # SKIP {_plain(cell.reason)}"]
    if cell.verdict is Verdict.PASS:
        return [f"ok {number} {cell.module}"]
    whose = "the lab's error" if cell.verdict is Verdict.ERROR else "failed"
    return [f"# {cell.module}: {whose} at {cell.stage}: {_plain(cell.reason)}", f"not ok {number} {cell.module}"]


def _joined(number: int, name: str, cells: list[Cell]) -> str:
    if all(cell.verdict is Verdict.SKIP for cell in cells):
        return f"ok {number} {name} # SKIP nothing to prove"
    bad = any(cell.verdict in (Verdict.FAIL, Verdict.ERROR) for cell in cells)
    return f"{'not ok' if bad else 'ok'} {number} {name}"


def _plain(text: str) -> str:
    """A number sign begins a directive."""
    return text.replace("#", "No.")
