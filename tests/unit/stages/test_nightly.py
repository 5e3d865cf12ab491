"""What a night leaves out, what goes first, and what the lab says of itself."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from history_nights import night, row, run_id

from kmodlab.build.trees import Tree
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.errors import LabError
from kmodlab.history.row import Row
from kmodlab.history.series import Series
from kmodlab.history.states import Cells, fold
from kmodlab.plan.catalog import Module
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.contract import Kernel, ModuleInfo, Stage, Verdict, rfc3339
from kmodlab.results.folder import Planned, Run
from kmodlab.run.order import Order
from kmodlab.run.vm_column import VmColumn
from kmodlab.stages.matrix import only_run
from kmodlab.stages.nightly import Habits, forget_runs, settled, troubles
from kmodlab.stages.planning import Intent, _first, _settled, _still_owed
from kmodlab.stages.request import Request


def _cells(*rows: Row) -> Cells:
    cells: Cells = {}
    for each in rows:
        cells = fold(cells, [each])
    return cells


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(0)], True),
        ([row(0), row(1, "fail", digest="b")], False),
        ([row(0), row(1, "error")], False),
        ([row(0), row(1, "fail"), row(2)], False),  # flaky: looked at every night
        ([row(0, "fail"), row(1, digest="b")], True),
        ([row(0, "skip")], False),
    ],
)
def test_what_is_settled(rows: list[Row], expected: bool) -> None:
    assert bool(settled(_cells(*rows))) is expected


def _intent() -> Intent:
    host = load_inventory()["6.12-x86_64"]
    wanted = [Module(name="hub"), Module(name="spoke", needs=["hub"]), Module(name="other")]
    cells = [Planned(kernel=host.id, module=each.name) for each in wanted]
    tree = Tree(origin=Path("/"), folder=Path("/"))
    known = Kernel(id=host.id, arch="x86_64", release="6.12.1")

    class Host:
        row, line, offers = known, "6.12", set[str]()

    return Intent(tree, {}, [], wanted, [Host()], {}, cells)


def test_what_passed_before_is_left_out_but_for_what_others_need() -> None:
    intent = _intent()
    infos = [ModuleInfo(name=name, source="", sha256=name[0] * 64) for name in ("hub", "spoke", "other")]
    green = frozenset({("6.12-x86_64", "6.12.1", "hub", "h" * 16), ("6.12-x86_64", "6.12.1", "other", "o" * 16)})
    done = _settled(Request(".", settled=green), intent, infos)
    assert done == {("6.12-x86_64", "hub"), ("6.12-x86_64", "other")}
    assert [cell.module for cell in _still_owed(intent, done)] == ["hub", "spoke"]
    assert _first(intent.cells, done) == {"6.12-x86_64": ["spoke"]}
    everything = {("6.12-x86_64", name) for name in ("hub", "spoke", "other")}
    assert _still_owed(intent, everything) == []
    other = frozenset({("6.12-x86_64", "6.12.2", "other", "o" * 16), ("6.12-x86_64", "6.12.1", "other", "x" * 16)})
    assert _settled(Request(".", settled=other), intent, infos) == set()


def test_what_is_first_goes_first_with_its_needs(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    names = ["a", "hub", "spoke", "z"]
    run.plan(
        [Kernel(id="6.12", arch="x86_64")],
        [ModuleInfo(name=name, source="", sha256="") for name in names],
        [Planned(kernel="6.12", module=name) for name in names],
    )
    tree = Tree(origin=tmp_path, folder=tmp_path)
    column = VmColumn(run, Order(tree=tree, modules=[], only=[], kernels={}, first={"6.12": ["spoke"]}), "6.12")
    modules = [Module(name=name, needs=["hub"] if name == "spoke" else []) for name in names]
    column.order.__dict__["catalog"] = {module.name: module for module in modules}
    assert [module.name for module in column.modules] == ["hub", "spoke", "a", "z"]


def test_what_the_lab_says_of_itself(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    asked = [datetime.now(UTC) - timedelta(days=3), datetime.now(UTC)]
    facts = {"arch": "x86_64", "release": "6.12.1"}
    kernels = [Kernel(id=f"k{n}", asked=rfc3339(moment), stale=not n, **facts) for n, moment in enumerate(asked)]
    run.plan(kernels, [ModuleInfo(name="m", source="", sha256="")], [Planned(kernel=k.id, module="m") for k in kernels])
    run.record("k0", "m", Stage.BUILD, Verdict.PASS)
    said = troubles(run, run.collect(), asked=True)
    assert said == [f"k0: the archive was not reached, 6.12.1 is what it had at {rfc3339(asked[0])}"]
    assert troubles(run, run.collect(), asked=False) == []
    run.stop("no time: the limit of 6 h was reached")
    assert troubles(run, run.collect(), asked=False) == ["the night was cut short: no time: the limit of 6 h was reached"]


def test_old_runs_of_the_series_are_removed_and_nobody_elses(tmp_path: Path) -> None:
    series, reports, site = Series(tmp_path / "series"), tmp_path / "reports", tmp_path / "site"
    for n in range(5):
        series.append(night(n, [row(n)]), [row(n)])
        (reports / run_id(n) / "logs").mkdir(parents=True)
        (site / "logs" / run_id(n)).mkdir(parents=True)
    (reports / "20200101T000000Z").mkdir()
    forget_runs(Habits(series, site, keep=2), reports)
    assert {path.name for path in reports.iterdir()} == {run_id(3), run_id(4), "20200101T000000Z"}
    assert {path.name for path in (site / "logs").iterdir()} == {run_id(3), run_id(4)}
    assert len(series.files()) == 5


HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "a") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_lock_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [sys.executable, "-c", HOLDER, str(cache_dir() / "run.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin and holder.stdout
        holder.stdout.readline()
        with pytest.raises(LabError, match="another run"), only_run():
            pass
        before = time.monotonic()
        with pytest.raises(LabError, match="another run"), only_run(wait=0.2):
            pass
        assert time.monotonic() - before >= 0.2
        holder.stdin.write("\n")
        holder.stdin.flush()
        with only_run(wait=60) as lock:
            assert fcntl.fcntl(lock, fcntl.F_GETFD) >= 0
