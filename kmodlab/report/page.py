"""The web page in the run folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from kmodlab.report.remarks import (
    MARKS,
    about,
    duration,
    in_words,
    notices,
    outcome,
    reached,
    remarks,
    retried,
    short_names,
    totals,
    why,
)
from kmodlab.results.contract import NO_TEST, Check, Results, Stage, Verdict
from kmodlab.results.junit import log_end

PAGE_LOG_CHARACTERS = 6_000


def page(results: Results, folder: Path) -> str:
    """The run's index.html: one file that needs no other, but for the logs that it links to."""
    environment = Environment(loader=PackageLoader("kmodlab.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["duration"] = duration
    environment.filters["link"] = quote
    return environment.get_template("index.html").render(
        results=results,
        marks=MARKS,
        short=short_names(results),
        totals=totals(results),
        cells={(cell.module, cell.kernel): cell for cell in results.cells},
        outcome=outcome,
        why=why,
        remarks=[(remark, log_end(folder, remark.first, PAGE_LOG_CHARACTERS)) for remark in remarks(results)],
        about=about(results),
        retried=retried(results),
        notices=notices(results),
        tests=_tests(results),
        in_words=in_words,
        reached=reached(results),
        unhappy={cell.module for cell in results.cells if cell.verdict in (Verdict.FAIL, Verdict.ERROR)},
    )


def _tests(results: Results) -> dict[str, dict[str, dict[str, Check]]]:
    """Each module's behaviour tests, passed over ones included: module, test, kernel."""
    found: dict[str, dict[str, dict[str, Check]]] = {}
    for cell in results.cells:
        for check in cell.checks:
            if check.stage is Stage.BEHAVIOUR and check.name != NO_TEST:
                found.setdefault(cell.module, {}).setdefault(check.name, {})[cell.kernel] = check
    return found
