"""The results as CTRF, the Common Test Report Format (ctrf.io): one test a cell."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kmodlab.results.contract import Cell, Results, Verdict

SPECIFICATION = "0.0.0"
"""The version of the format; its makers count so until the first is released."""
_STATUS = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.SKIP: "skipped", Verdict.ERROR: "other"}


def ctrf(results: Results) -> dict[str, Any]:
    """One document, as it is dumped to JSON. Times are in milliseconds."""
    start = round(datetime.fromisoformat(results.started).timestamp() * 1000)
    counts = {status: results.count[verdict] for verdict, status in _STATUS.items()}
    summary = {"tests": len(results.cells), "pending": 0, **counts, "start": start, "stop": start + round(results.seconds * 1000)}
    releases = {kernel.id: kernel.release for kernel in results.kernels}
    return {
        "reportFormat": "CTRF",
        "specVersion": SPECIFICATION,
        "results": {
            "tool": {"name": "kmodlab", "version": results.kmodlab},
            "summary": summary,
            "tests": [_test(cell, releases.get(cell.kernel, "")) for cell in results.cells],
            "extra": {"run": results.run},
        },
    }


def _test(cell: Cell, release: str) -> dict[str, Any]:
    tries = cell.attempts[:-1]
    test: dict[str, Any] = {
        "name": f"{cell.kernel}/{cell.module}",
        "status": _STATUS[cell.verdict],
        "duration": round(cell.seconds * 1000),
        "rawStatus": cell.verdict.value,
        "suite": [cell.kernel],
        "retries": len(tries),
        "flaky": cell.verdict is Verdict.PASS and any(each.verdict is Verdict.FAIL for each in tries),
        "extra": {"stage": cell.stage.value, "kernel": cell.kernel, "module": cell.module, "release": release},
    }
    if cell.reason:
        test["message"] = f"{cell.stage}: {cell.reason}"
    if cell.log:
        test["attachments"] = [{"name": "log", "contentType": "text/plain", "path": cell.log}]
    return test
