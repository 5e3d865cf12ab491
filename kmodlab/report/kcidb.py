"""The results for KCIDB, the kernel community's database of test results (schema 5.3), and how they are handed in."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import printable
from kmodlab.results.contract import Cell, Finding, Kernel, Results, Verdict
from kmodlab.results.junit import log_end

EXCERPT = 16_000
"""KCIDB takes no more than 16384 characters of a log."""
SECONDS = 60
ORIGIN = re.compile(r"[a-z0-9_]+")
_STATUS = {Verdict.PASS: "PASS", Verdict.FAIL: "FAIL", Verdict.SKIP: "SKIP", Verdict.ERROR: "MISS"}
"""MISS is a failure of the test's harness."""


def kcidb(results: Results, folder: Path, origin: str) -> dict[str, Any]:
    """One document: a checkout and a build for each kernel, a test for each cell, an issue for each fault of the kernel's log.

    `origin` is the name that KCIDB knows the lab by. LabError where it cannot be one.
    """
    if not ORIGIN.fullmatch(origin):
        raise LabError(f"origin {origin!r} is no name for KCIDB", hint="small letters, digits and underlines")
    issues: dict[str, dict[str, Any]] = {}
    incidents = []
    for cell in results.cells:
        for finding in cell.findings:
            if finding.severity != "notice" and cell.verdict is Verdict.FAIL:
                issue = _issue(finding, origin)
                issues[issue["id"]] = issue
                incidents.append(_incident(issue["id"], cell, results, origin))
    document = {
        "version": {"major": 5, "minor": 3},
        "checkouts": [_checkout(kernel, results, origin) for kernel in results.kernels],
        "builds": [_build(kernel, results, origin) for kernel in results.kernels],
        "tests": [_test(cell, results, folder, origin) for cell in results.cells],
    }
    if issues:
        document |= {"issues": list(issues.values()), "incidents": incidents}
    return document


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """Who is sent elsewhere has not handed anything in, and takes no token there."""

    def redirect_request(self, *_: Any) -> None:
        return None


def submit(document: dict[str, Any], url: str) -> None:
    """POST it to `/submit`, the token from KMODLAB_KCIDB_TOKEN. LabError where it is not taken."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise LabError(f"{parts.path or url}: no address of a KCIDB server", hint="like https://HOST/submit")
    target = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
    token = os.environ.get("KMODLAB_KCIDB_TOKEN", "")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(target, json.dumps(document).encode(), headers)  # noqa: S310 - its scheme was looked at
    try:
        with urllib.request.build_opener(_Nowhere).open(request, timeout=SECONDS) as answer:
            answer.read(1 << 16)
    except (OSError, ValueError) as problem:
        raise LabError(f"KCIDB did not take the results: {problem}", hint="see the address and KMODLAB_KCIDB_TOKEN") from problem


def _id(origin: str, *parts: str) -> str:
    return f"{origin}:{'-'.join(parts)}"


def _checkout(kernel: Kernel, results: Results, origin: str) -> dict[str, Any]:
    comment = f"{kernel.distribution} linux {kernel.release}".strip()
    said = {"id": _id(origin, results.run, kernel.id), "origin": origin, "comment": comment, "start_time": results.started}
    return said | ({"tree_name": f"debian-{kernel.distribution}"} if kernel.distribution else {})


def _build(kernel: Kernel, results: Results, origin: str) -> dict[str, Any]:
    own = _id(origin, results.run, kernel.id)
    said = {"id": own, "checkout_id": own, "origin": origin, "architecture": kernel.arch, "config_name": "distribution"}
    said |= {"status": "PASS", "comment": f"a distribution's kernel {kernel.release}".strip()}
    return said | ({"compiler": kernel.compiler} if kernel.compiler else {})


def _test(cell: Cell, results: Results, folder: Path, origin: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "id": _id(origin, results.run, cell.kernel, cell.module),
        "build_id": _id(origin, results.run, cell.kernel),
        "origin": origin,
        "path": f"kmodlab.{re.sub(r'[^a-zA-Z0-9_-]', '_', cell.module)}",
        "status": _STATUS[cell.verdict],
        "start_time": results.started,
        "duration": cell.seconds,
        "comment": printable(f"{cell.module}: {cell.stage}: {cell.reason}" if cell.reason else cell.module),
        "misc": {"stage": cell.stage.value, "module": cell.module},
    }
    if excerpt := printable(log_end(folder, cell, EXCERPT))[:EXCERPT]:
        said["log_excerpt"] = excerpt
    return said


def _issue(finding: Finding, origin: str) -> dict[str, Any]:
    return {
        "id": _id(origin, finding.fingerprint),
        "version": 1,
        "origin": origin,
        "comment": printable(f"{finding.kind}: {finding.headline}"),
        "culprit": {"code": True, "tool": False, "harness": False},
    }


def _incident(issue: str, cell: Cell, results: Results, origin: str) -> dict[str, Any]:
    test = _id(origin, results.run, cell.kernel, cell.module)
    own = f"{test}-{issue.partition(':')[2]}"
    return {"id": own, "origin": origin, "issue_id": issue, "issue_version": 1, "test_id": test, "present": True}
