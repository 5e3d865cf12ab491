"""What people see of the results: nothing that did not pass may be missing from it, or break it."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from rich.console import Console

from kmodlab.ground.errors import LabError
from kmodlab.report.remarks import duration, in_words, remarks
from kmodlab.report.terminal import markdown, show
from kmodlab.results.contract import (
    NO_TEST,
    Check,
    Finding,
    Kernel,
    Mode,
    ModuleInfo,
    Results,
    Revision,
    Stage,
    Verdict,
)
from kmodlab.results.folder import Expected, Planned, Run

REASON = "log: <b>BUG</b> | [bold]page[/bold] fault"


def made_run(
    tmp_path: Path,
    *,
    kernels: tuple[str, ...] = ("6.1-x86_64", "6.12-rt-x86_64"),
    modules: tuple[str, ...] = ("hello-1", "chardev", "syscall", "lost"),
) -> Run:
    """hello-1 passes on the first kernel, expectedly fails on others; the others are as they are named."""
    run = Run.create(tmp_path)
    run.plan(
        [Kernel(id=id_, arch=id_.rsplit("-", 1)[1]) for id_ in kernels],
        [ModuleInfo(name=name, source=f"{name}.c", sha256="") for name in modules],
        [
            Planned(
                kernel=kernel,
                module=name,
                stages=[Stage.BUILD],
                skip="never here" if name == "syscall" else "",
                expect=Expected(stage=Stage.BUILD, reason="known") if name == "hello-1" and kernel != kernels[0] else None,
            )
            for kernel in kernels
            for name in modules
        ],
    )
    for kernel in kernels:
        for name in modules:
            if name == "chardev":
                run.record(kernel, name, Stage.BUILD, Verdict.FAIL, REASON, seconds=1, log_text="a <script> & more")
            elif name == "hello-1" and kernel != kernels[0]:
                run.record(kernel, name, Stage.BUILD, Verdict.FAIL, "objtool")
            elif name not in ("syscall", "lost"):
                run.record(kernel, name, Stage.BUILD, Verdict.PASS)
    return run


def shown(run: Run, *, width: int = 100, encoding: str = "utf-8") -> tuple[str, Results]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    results = show(run.folder, Console(file=stream, width=width))
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(encoding), results


def test_the_terminal_shows_every_cell_and_every_reason(tmp_path: Path) -> None:
    text, results = shown(made_run(tmp_path))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line and not line.startswith(" ")}
    assert rows["hello-1"] == ["✔", "x"]
    assert rows["chardev"] == ["✘", "✘"]
    assert rows["syscall"] == ["–", "–"]  # noqa: RUF001
    assert rows["lost"] == ["!", "!"]
    assert f"✘ chardev on 6.1, 6.12-rt at build: {REASON}" in text, "said once, markup left alone, no architecture"
    assert "logs/6.1-x86_64/chardev.log]" in text
    assert "x hello-1 on 6.12-rt at build: known: objtool" in text
    assert "– syscall on 6.1, 6.12-rt: never here" in text  # noqa: RUF001
    assert "! lost on 6.1, 6.12-rt at build: the lab lost this cell" in text
    assert "1 passed, 1 failed as expected, 2 failed, 2 in error, 2 skipped: 8 cells in " in text
    assert "\x1b" not in text, "plain where it is no terminal"
    assert results.exit_status == 1


def test_architectures_stay_where_they_differ(tmp_path: Path) -> None:
    text, _ = shown(made_run(tmp_path, kernels=("6.1-x86_64", "6.1-arm64")))
    assert "chardev on 6.1-x86_64, 6.1-arm64" in text


def test_a_terminal_without_utf8_gets_plain_marks(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    run.record("6.1-x86_64", "chardev", Stage.BUILD, Verdict.FAIL, "größer … ✘")
    text, _ = shown(run, encoding="ascii")
    assert text.isascii() and "F chardev" in text and "gr\\xf6\\xdfer" in text


KERNELS = tuple(f"{line}-{arch}" for arch in ("x86_64", "arm64", "armhf") for line in ("5.10", "6.1", "6.12-debug", "7.3"))


@pytest.mark.parametrize(("width", "tables"), [(100, 1), (60, 2), (20, 8)])
def test_many_kernels_fit_or_are_shown_below_each_other(tmp_path: Path, width: int, tables: int) -> None:
    names = ("lost", "example_spinlock", *(f"module-{n}" for n in range(40)))
    text, _ = shown(made_run(tmp_path, kernels=KERNELS, modules=names), width=width)
    rows = [line for line in text.splitlines() if line.startswith("lost ") and " on " not in line]
    assert len(rows) == tables
    assert sum(row.count("!") for row in rows) == 12, "no column was cut"
    table = [line for line in text.split("✘")[0].splitlines() if not line.startswith("    ")]
    assert max(len(line) for line in table if " on " not in line and "/" not in line and "cells" not in line) <= width
    assert "lost on 12 kernels at build" in text
    assert text.count("again: kmodlab repro lost@") == 4 and "and so for 8 more" in text


def test_remarks_join_what_is_the_same_only(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    run.record("6.1-x86_64", "chardev", Stage.BUILD, Verdict.FAIL, "another reason")
    run.record("6.1-x86_64", "lost", Stage.BUILD, Verdict.FAIL, "another reason")
    found = [(remark.modules, remark.kernels) for remark in remarks(run.collect())]
    assert found == [
        (("chardev", "lost"), ("6.1",)),
        (("chardev",), ("6.12-rt",)),
        (("lost",), ("6.12-rt",)),
        (("hello-1",), ("6.12-rt",)),
        (("syscall",), ("6.1", "6.12-rt")),
    ]


K = "6.12-x86_64"


def used_run(tmp_path: Path) -> Run:
    """`used` has two tests, `lonely` none; `faulty` oopsed; `victim` was tried again and passed; `noisy` has a notice."""
    names = ("used", "lonely", "faulty", "victim", "noisy")
    run = Run.create(tmp_path)
    run.plan(
        [Kernel(id=K, arch="x86_64", asked="2026-11-27T10:00:00Z")],
        [ModuleInfo(name=name, source="", sha256="") for name in names],
        [Planned(kernel=K, module=name, stages=[Stage.BEHAVIOUR, Stage.UNLOAD, Stage.LOG]) for name in names],
        mode=Mode(quick=False, stress=50),
        revision=Revision(kmodlab="v0.1.0-5-gabc", modules="12ab"),
    )
    words = {"kind": "oops", "severity": "fatal", "headline": "BUG: <i>NULL</i>", "meaning": "a NULL pointer was used"}
    oops = Finding.model_validate({**words, "fingerprint": "a", "count": 3, "where": ["f+0xc [faulty] is faulty.c:9"]})
    notice = Finding(kind="hogged", severity="notice", fingerprint="b", headline="hogged CPU", meaning="it ran for long")
    run.record(K, "victim", Stage.LOG, Verdict.FAIL, "oops: BUG: <i>NULL</i>", findings=[oops])
    for name in names:
        tests = ["test_it_reads[used]", "test_it_writes[used]"] if name == "used" else [NO_TEST]
        checks = [Check(name=each, verdict=Verdict.PASS) for each in tests]
        run.record(K, name, Stage.BEHAVIOUR, Verdict.PASS, checks=checks)
        run.record(K, name, Stage.UNLOAD, Verdict.PASS, checks=[Check(name="rmmod", verdict=Verdict.PASS)])
        findings = {"faulty": [oops], "noisy": [notice]}.get(name, [])
        verdict = Verdict.FAIL if name == "faulty" else Verdict.PASS
        run.record(K, name, Stage.LOG, verdict, "oops: BUG: <i>NULL</i>", findings=findings)
    return run


def test_a_cell_that_was_only_loaded_does_not_look_like_one_that_was_used(tmp_path: Path) -> None:
    text, _ = shown(used_run(tmp_path))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line and not line.startswith(" ")}
    assert rows["used"] == ["✔"] and rows["lonely"] == ["✓"]
    assert "4 passed (3 of them loaded and unloaded only), 1 failed: 5 cells" in text


def test_the_terminal_says_what_a_report_means_and_what_was_tried_again(tmp_path: Path) -> None:
    text, _ = shown(used_run(tmp_path))
    assert "    a NULL pointer was used: f+0xc [faulty] is faulty.c:9 (3 times)" in text
    assert "victim on 6.12 was tried 2 times: failed at log: oops: BUG: <i>NULL</i>; then passed" in text
    assert "no faults: 1; the page" in text


def test_the_page_shows_findings_attempts_notices_and_tests(tmp_path: Path) -> None:
    run = used_run(tmp_path)
    shown(run)
    page = _Page()
    page.feed((run.folder / "index.html").read_text())
    assert "i" not in page.tags
    for words in (
        "BUG: <i>NULL</i>",
        "f+0xc [faulty] is faulty.c:9",
        "victim on 6.12 was tried 2 times",
        "used: 2 tests",
        "it reads [used]",
        "hogged: it ran for long",
        "noisy on 6.12",
        "50 loads of each module (STRESS); kmodlab is v0.1.0-5-gabc; the modules' files are 12ab.",
        "2026-11-27T10:00:00Z",
    ):
        assert words in page.text, words


def test_a_tests_name_is_words() -> None:
    assert in_words("test_a_second_opener_is_busy[chardev]") == "a second opener is busy [chardev]"
    assert in_words("test_it") == "it"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_escapes_what_modules_say(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    shown(run)
    page = _Page()
    page.feed((run.folder / "index.html").read_text())
    assert not page.open and "script" not in page.tags and page.tags.count("b") == len(remarks(run.collect()))
    assert REASON in page.text and "a <script> & more" in page.text
    assert page.links and all((run.folder / unquote(link)).exists() for link in page.links)
    assert not [link for link in page.links if link.startswith(("http", "/"))]


def test_the_summary_of_a_ci_job_is_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run = made_run(tmp_path / "reports")
    shown(run)
    text = summary.read_text()
    assert text == "before\n" + markdown(run.collect())
    assert "| chardev | ❌ | ❌ |" in text
    assert "<b>" not in text.replace("\\<b", ""), "a reason is text, not markup"


def test_a_run_that_was_killed_is_shown(tmp_path: Path) -> None:
    run = made_run(tmp_path)
    assert not (run.folder / "results.json").exists()
    text, _ = shown(run)
    assert "8 cells" in text and (run.folder / "results.json").exists()


def test_showing_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no run folder"):
        show(tmp_path, Console())


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 05 min"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said
