"""`kmodlab summary`: the cells that a run would have, where its kernels come from, and how long it would take."""

import io
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from kmodlab.build.trees import Tree
from kmodlab.commands.summary import summary, tell
from kmodlab.debian.archive import Resolved
from kmodlab.ground.errors import LabError
from kmodlab.plan.boards import Board, ResolvedBoard
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.contract import Cell, Results, Stage, Verdict
from kmodlab.results.folder import Planned
from kmodlab.stages.planning import Intent

LAST = Results(
    run="20261128T000000Z",
    started="2026-11-28T00:00:00Z",
    seconds=40,
    kmodlab="0",
    kernels=[],
    modules=[],
    cells=[
        Cell(kernel="6.12-x86_64", module=name, verdict=Verdict.PASS, stage=Stage.LOG, seconds=seconds)
        for name, seconds in (("one", 5.0), ("two", 15.0))
    ],
)


@pytest.fixture
def intent(tmp_path: Path) -> Intent:
    inventory = load_inventory()
    kernel, broken = inventory["6.12-x86_64"], inventory["6.1-x86_64"]
    asked = datetime.now(UTC) - timedelta(seconds=30)
    resolved = Resolved(kernel=kernel, release="6.12.118", version="6.12.118-1", sources=("deb main",), asked=asked)
    board = Board(id="pi", board_arch="arm64", ansible_host="pi.example")
    there = ResolvedBoard(board=board, inventory=tmp_path, release="6.12.47-rpi", distribution="debian-13")
    return Intent(
        tree=Tree(origin=Path("/home/me/modules"), folder=tmp_path),
        sources={},
        only=[],
        wanted=[],
        hosts=[kernel, broken, board],
        found={kernel.id: resolved, broken.id: LabError("kernel 6.1-x86_64: has left the archive"), "pi": there},
        cells=[
            Planned(kernel=kernel.id, module="one"),
            Planned(kernel=kernel.id, module="two", skip="not for x86_64"),
            Planned(kernel=broken.id, module="one"),
            Planned(kernel="pi", module="one"),
        ],
    )


def shown(intent: Intent, last: Results | None) -> str:
    console = Console(file=io.StringIO(), width=40)
    tell(summary(intent, last), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_kernel_says_where_it_comes_from(intent: Intent) -> None:
    kernel, broken, board = summary(intent, None).kernels
    assert (kernel.release, kernel.source, kernel.cells, kernel.skipped) == ("6.12.118", "trixie trixie-security", 1, 1)
    assert kernel.asked.endswith("Z") and kernel.images == []
    assert (broken.release, broken.problem) == ("", "kernel 6.1-x86_64: has left the archive")
    assert (board.release, board.source, board.asked) == ("6.12.47-rpi", "board pi.example, debian-13", "")


def test_how_long_it_takes_is_what_the_newest_run_took(intent: Intent) -> None:
    """Its cells took 20 s of work in 40 s; this one has three of `one`, 5 s of work each."""
    assert summary(intent, LAST).seconds == pytest.approx(30.0)
    assert summary(intent, None).seconds is None


def test_people_are_told_all_of_it(intent: Intent) -> None:
    text = shown(intent, LAST)
    for words in (
        "6.12.118",
        "trixie trixie-security",
        "s ago",
        "to be made",
        "has left the archive",
        "two on 6.12-x86_64: not for",
    ):
        assert words in text
    assert "3 cells, 1 skipped; modules of /home/me/modules" in text
    assert "about 30 s, by what each module took in run 20261128T000000Z, and what making images takes for 6.12-x86_64" in text
    assert "not known" in shown(intent, None)


def test_programs_get_json(intent: Intent) -> None:
    found = json.loads(json.dumps(asdict(summary(intent, LAST))))
    assert found["skips"] == {"two on 6.12-x86_64": "not for x86_64"} and found["measured"] == LAST.run
    assert [row["id"] for row in found["kernels"]] == ["6.12-x86_64", "6.1-x86_64", "pi"]
