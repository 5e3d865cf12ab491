"""The formats of others' tools, each against a validator that is shown to refuse a broken one."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import kcidb_io
import pytest
import xmlschema
from click.testing import CliRunner

from kmodlab.cli import main
from kmodlab.ground.errors import LabError
from kmodlab.report.ctrf import ctrf
from kmodlab.report.kcidb import kcidb, submit
from kmodlab.report.ktap import ktap
from kmodlab.report.terminal import SUMMARY_BYTES, markdown
from kmodlab.results.contract import Attempt, Cell, Finding, Kernel, ModuleInfo, Results, Stage, Verdict
from kmodlab.results.junit import junit

ODD = "NUL \0 ESC \x1b[31m # | <b> \N{SNOWMAN} ]]>"
SCHEMAS = Path(__file__).with_name("schemas")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """One cell of each verdict on two kernels, with words that no format likes."""
    (tmp_path / "logs/6.12-x86_64").mkdir(parents=True)
    (tmp_path / "logs/6.12-x86_64/chardev.log").write_text(ODD + "\n" + "x" * 40_000)
    found = Finding(
        kind="oops", severity="fatal", fingerprint="oops:a/b\tc", headline=ODD, meaning="a NULL pointer was used", count=2
    )
    tried = [Attempt(verdict=Verdict.FAIL, stage=Stage.LOAD, reason="once"), Attempt(verdict=Verdict.PASS, stage=Stage.LOG)]
    cells = [
        Cell(kernel="6.12-x86_64", module="hello-1", verdict=Verdict.PASS, stage=Stage.LOG, seconds=1.25, attempts=tried),
        Cell(
            kernel="6.12-x86_64",
            module="chardev",
            verdict=Verdict.FAIL,
            stage=Stage.LOG,
            reason=ODD,
            findings=[found],
            log="logs/6.12-x86_64/chardev.log",
        ),
        Cell(kernel="6.1-arm64", module="hello-1", verdict=Verdict.SKIP, stage=Stage.BUILD, reason=ODD),
        Cell(kernel="6.1-arm64", module="chardev", verdict=Verdict.ERROR, stage=Stage.LOAD, reason="the lab lost it"),
    ]
    kernels = [
        Kernel(id="6.12-x86_64", release="6.12.1", arch="x86_64", distribution="trixie", compiler="gcc-14"),
        Kernel(id="6.1-arm64", arch="arm64"),
    ]
    modules = [ModuleInfo(name=name, source=f"{name}.c", sha256="") for name in ("hello-1", "chardev")]
    head = {"run": "20261128T020000Z", "started": "2026-11-28T02:00:00Z", "seconds": 90.5, "kmodlab": "1.0"}
    return Results.model_validate({**head, "kernels": kernels, "modules": modules, "cells": cells})


def _refused(check: Callable[[Any], object], good: Any, breaks: list[Callable[[Any], object]]) -> None:
    """The validator takes it, and refuses it after each of these changes."""
    check(good)
    for number, spoil in enumerate(breaks):
        broken = copy.deepcopy(good)
        spoil(broken)
        try:
            check(broken)
        except (jsonschema.ValidationError, ValueError, AssertionError):
            continue
        raise AssertionError(f"the validator took broken file {number}")


def test_ctrf(results: Results) -> None:
    schema = json.loads((SCHEMAS / "ctrf.json").read_text())

    def check(document: Any) -> None:
        jsonschema.validate(document, schema)
        summary, tests = document["results"]["summary"], document["results"]["tests"]
        for status in ("passed", "failed", "skipped", "pending", "other"):
            assert summary[status] == sum(test["status"] == status for test in tests)
        assert summary["tests"] == len(tests)

    document = json.loads(json.dumps(ctrf(results)))
    _refused(
        check,
        document,
        [
            lambda each: each.pop("reportFormat"),
            lambda each: each["results"]["tests"][0].update(status="pass"),
            lambda each: each["results"]["tests"][0].update(duration="1 s"),
            lambda each: each["results"]["tests"].pop(),
            lambda each: each["results"].pop("tool"),
        ],
    )
    assert [test["status"] for test in document["results"]["tests"]] == ["passed", "failed", "skipped", "other"]
    assert document["results"]["tests"][0]["flaky"] is True


def test_kcidb(results: Results, tmp_path: Path) -> None:
    latest = kcidb_io.schema.LATEST
    document = json.loads(json.dumps(kcidb(results, tmp_path, "lab_1")))
    assert (latest.major, latest.minor) == (5, 3)
    _refused(
        latest.validate,
        document,
        [
            lambda each: each.pop("version"),
            lambda each: each["tests"][0].update(status="GOOD"),
            lambda each: each["tests"][0].update(path="has blanks"),
            lambda each: each["tests"][1].update(log_excerpt="x" * 20_000),
            lambda each: each["tests"][1].update(comment=None),
            lambda each: each["builds"][0].update(architecture="X86"),
        ],
    )
    assert [test["status"] for test in document["tests"]] == ["PASS", "FAIL", "SKIP", "MISS"]
    assert document["incidents"][0]["issue_id"] == document["issues"][0]["id"]
    assert document["incidents"][0]["test_id"] == document["tests"][1]["id"]


@pytest.mark.parametrize("origin", ["", "Lab", "a:b", "a b"])
def test_kcidb_wants_an_origin(results: Results, tmp_path: Path, origin: str) -> None:
    with pytest.raises(LabError, match="no name for KCIDB"):
        kcidb(results, tmp_path, origin)


@contextmanager
def _server(status: int = 200, token: str = "") -> Iterator[tuple[str, list[tuple[dict[str, str], Any]]]]:
    """A stub of KCIDB's door on loopback, which opens to a token only, and what came in."""
    taken: list[tuple[dict[str, str], Any]] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known = self.path == "/submit" and self.headers["Authorization"] == f"Bearer {token}"
            if known and status == 200:
                taken.append(({**self.headers}, json.loads(body)))
            self.send_response(status if known else 401)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *said: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/submit", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_kcidb_is_handed_in(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODLAB_KCIDB_TOKEN", "sesame")
    with _server(token="sesame") as (url, taken):  # noqa: S106 - the stub's
        submit(kcidb(results, tmp_path, "lab"), url)
        monkeypatch.setenv("KMODLAB_KCIDB_TOKEN", "another")
        with pytest.raises(LabError, match=r"401.*KMODLAB_KCIDB_TOKEN"):
            submit(kcidb(results, tmp_path, "lab"), url)
    ((headers, document),) = taken
    assert headers["Content-Type"] == "application/json"
    kcidb_io.schema.LATEST.validate(document)


def test_who_does_not_take_it_is_named(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KMODLAB_KCIDB_TOKEN", raising=False)
    for status in (302, 307, 403, 500):  # who is sent elsewhere has handed nothing in
        with _server(status) as (url, _), pytest.raises(LabError, match=str(status)):
            submit(kcidb(results, tmp_path, "lab"), url)
    with pytest.raises(LabError, match="did not take"):
        submit({}, url)
    with pytest.raises(LabError, match="no address"):
        submit({}, "file:///etc/passwd")


def test_junit(results: Results, tmp_path: Path) -> None:
    schema = xmlschema.XMLSchema(SCHEMAS / "junit.xsd")
    text = junit(results, tmp_path).decode()
    schema.validate(text)
    for old, new in (("<testcase ", "<case "), ('tests="4"', 'tests="four"'), ("</testsuites>", ""), ('name="hello-1"', "")):
        assert old in text
        with pytest.raises((xmlschema.XMLSchemaException, SyntaxError)):
            schema.validate(text.replace(old, new, 1))


def test_ktap(results: Results) -> None:
    """What the kernel's own kunit_parser.py reads of it is looked at in tests/nightly: it takes the kernel's source."""
    lines = ktap(results).splitlines()
    assert lines[:4] == ["KTAP version 1", "1..2", "  KTAP version 1", "  # Subtest: 6.12-x86_64"]
    assert "  ok 1 hello-1" in lines and "  not ok 2 chardev" in lines
    assert any(line.startswith("  ok 1 hello-1 # SKIP NUL") for line in lines)
    assert lines[-1] == "not ok 2 6.1-arm64"
    assert all(line.count("#") <= 1 for line in lines)


@pytest.mark.parametrize("form", ["ctrf", "junit", "kcidb", "ktap", "markdown"])
def test_the_command_prints_each(results: Results, tmp_path: Path, form: str) -> None:
    (tmp_path / "results.json").write_text(results.model_dump_json(by_alias=True))
    done = CliRunner().invoke(main, ["report", str(tmp_path), "--format", form])
    assert done.exit_code == 1
    assert "chardev" in done.stdout


def test_githubs_summary_keeps_its_limit(results: Results) -> None:
    many = [results.cells[1].model_copy(update={"module": f"m{n}", "reason": f"{n} " + "\N{SNOWMAN}" * 400}) for n in range(1500)]
    text = markdown(results.model_copy(update={"cells": many}))
    assert SUMMARY_BYTES - 2000 < len(text.encode()) <= SUMMARY_BYTES < 1 << 20
    assert "is left out" in text
    assert markdown(results, 10) == ""
    assert "is left out" not in markdown(results)
