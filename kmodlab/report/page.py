"""The web page in the run folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from kmodlab.report.remarks import MARKS, duration, outcome, remarks, short_names, totals, why
from kmodlab.results.contract import Results, Verdict
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
        unhappy={cell.module for cell in results.cells if cell.verdict in (Verdict.FAIL, Verdict.ERROR)},
    )
