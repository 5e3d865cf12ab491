"""The kernel's own parser reads our KTAP: it comes with the source that the debug kernel is made of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kmodlab.ground.cache import cache_dir
from kmodlab.report.ktap import ktap
from kmodlab.results.contract import Cell, Kernel, ModuleInfo, Results, Stage, Verdict

READ = """
import inspect, sys
sys.path.insert(0, sys.argv[1])
import kunit_parser
from kunit_printer import stdout
printer = [stdout] if len(inspect.signature(kunit_parser.parse_run_tests).parameters) > 1 else []  # later kernels'
result = kunit_parser.parse_run_tests(sys.stdin.read().splitlines(), *printer)
counts = result.counts
print("counts", counts.passed, counts.failed, counts.skipped, counts.errors)
"""


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = sorted(cache_dir().glob("images/*-source-*/root/usr/src/linux-source-*.tar.xz"))
    if not found:
        pytest.skip("no kernel's source is in the cache: `kmodlab matrix --kernels 6.12-debug` fetches it")
    folder = tmp_path_factory.mktemp("source")
    command = ["tar", "xf", str(found[-1]), "-C", str(folder), "--wildcards", "*/tools/testing/kunit/kunit_*.py"]
    subprocess.run(command, check=True, timeout=600)
    return next(folder.glob("*/tools/testing/kunit"))


def _read(parser: Path, text: str) -> str:
    command = [sys.executable, "-c", READ, str(parser)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()[-1]


def test_it_counts_as_we_do(parser: Path) -> None:
    cells = [
        Cell(
            kernel="6.12",
            module=f"m{n}",
            verdict=verdict,
            stage=Stage.LOG,
            reason="" if verdict is Verdict.PASS else "a # reason",
        )
        for n, verdict in enumerate([Verdict.PASS, Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR])
    ]
    head = {"run": "20261128T020000Z", "started": "2026-11-28T02:00:00Z", "seconds": 1, "kmodlab": "1"}
    modules = [ModuleInfo(name=cell.module, source="", sha256="") for cell in cells]
    kernels = [Kernel(id="6.12", arch="x86_64")]
    text = ktap(Results.model_validate({**head, "kernels": kernels, "modules": modules, "cells": cells}))
    assert _read(parser, text) == "counts 2 2 1 0"
    assert _read(parser, text.replace("  1..5", "  1..6")) != "counts 2 2 1 0"
    assert _read(parser, text.replace("KTAP version 1", "version")) != "counts 2 2 1 0"
