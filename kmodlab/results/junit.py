"""The results as junit.xml: one suite a kernel, one case a cell."""

from __future__ import annotations

import re
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from kmodlab.ground.files import tail
from kmodlab.results.contract import Cell, Finding, Results, Verdict

JUNIT_LOG_CHARACTERS = 8_000
"""How much of a log's end goes into junit.xml; viewers choke on megabytes."""


def junit(results: Results, folder: Path) -> bytes:
    """One suite a kernel, one case a cell."""
    xml = JUnitXml("kmodlab")
    for kernel in results.kernels:
        suite = TestSuite(kernel.id)
        suite.timestamp = results.started.removesuffix("Z")
        for name in ("release", "arch", "distribution", "accel", "host", "compiler", "asked"):
            if value := getattr(kernel, name):
                suite.add_property(name, xml_text(value))
        for name, value in _run_properties(results):
            suite.add_property(name, xml_text(value))
        suite.add_testcases([_case(cell, folder) for cell in results.cells if cell.kernel == kernel.id])
        xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return b"<?xml version='1.0' encoding='utf-8'?>\n" + text + b"\n"


def _case(cell: Cell, folder: Path) -> TestCase:
    case = TestCase(cell.module, cell.kernel, cell.seconds)
    message = xml_text(f"{cell.stage}: {cell.reason}")
    if cell.verdict is Verdict.FAIL:
        case.result = Failure(message, "fail")
    elif cell.verdict is Verdict.ERROR:
        case.result = Error(message, "error")
    elif cell.verdict is Verdict.SKIP:
        case.result = Skipped(xml_text(cell.reason))
    lines = [f"{check.verdict}: {check.name} {check.reason}".rstrip() for check in cell.checks]
    lines += [said for finding in cell.findings for said in _finding(finding)]
    if len(cell.attempts) > 1:
        lines += [f"attempt {n}: {each.verdict}: {each.reason}".removesuffix(": ") for n, each in enumerate(cell.attempts, 1)]
    case.system_out = xml_text("\n".join([*lines, "", log_end(folder, cell, JUNIT_LOG_CHARACTERS)]).strip())
    return case


def _finding(finding: Finding) -> list[str]:
    times = f"{finding.count} times " if finding.count > 1 else ""
    known = f"[{finding.fingerprint}]"
    return [f"{times}{finding.severity}: {finding.kind} {known}: {finding.headline}", f"  {finding.meaning}", *finding.where]


def _run_properties(results: Results) -> list[tuple[str, str]]:
    """What the run was, which is the same for every suite."""
    mode, revision = results.mode, results.revision
    found: dict[str, str] = {}
    if mode:
        found |= {name: str(value) for name, value in mode.model_dump(exclude={"only"}).items()}
    if revision:
        found |= {"revision": revision.kmodlab, "modules": revision.modules}
    return [(name, value) for name, value in found.items() if value]


def log_end(folder: Path, cell: Cell, characters: int) -> str:
    """The last part of a cell's log, from the start of a line."""
    path = folder / cell.log
    if not cell.log or not path.is_file():
        return ""
    text = tail(path, 4 * characters)  # a character has up to four bytes
    whole = len(text) <= characters and path.stat().st_size <= 4 * characters
    return text if whole else "…\n" + text[-characters:].partition("\n")[2]


def xml_text(text: str) -> str:
    """Kernel logs hold escape sequences and NULs, which no XML document may."""
    return re.sub(r"[^\t\n\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "\N{REPLACEMENT CHARACTER}", text)
