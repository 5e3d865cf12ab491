"""`kmodlab repro`: which run a cell is of, and the words that ask for it again."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from standin import BOARD as K
from standin import planned

from kmodlab.cli import main
from kmodlab.commands.repro import newest_with, request_of, words
from kmodlab.ground.errors import LabError
from kmodlab.plan.boards import INVENTORY
from kmodlab.results.contract import Kernel, ModuleInfo
from kmodlab.results.folder import Planned, Run
from kmodlab.run.lab import FILE, Lab

TWO = Planned(kernel=K, module="two")


def asked(lab: Lab, **news: object) -> Lab:
    """The same run, whose order says more."""
    path = lab.run.folder / FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **news}))
    return Lab.open(lab.run.folder)


def test_the_newest_run_that_has_the_cell_is_meant(tmp_path: Path) -> None:
    first = planned(tmp_path, ("one", "two"))
    reports = first.run.folder.parent
    Run.create(reports).plan([Kernel(id=K, arch="x86_64")], [ModuleInfo(name="two", source="", sha256="")], [TWO])
    Run.create(reports)  # stopped before it was planned
    assert newest_with("one", K, reports) == first.run.folder
    assert newest_with("two", K, reports) != first.run.folder
    with pytest.raises(LabError, match=f"no run in .* has three on {K}; name the run's folder"):
        newest_with("three", K, reports)


def test_the_words_are_those_of_the_run(tmp_path: Path) -> None:
    lab = asked(
        planned(tmp_path, ("one",), quick=True),
        asked="/home/me/my\\ tree v4l2loopback-dkms",
        boards_from=str(INVENTORY.absolute()),
        manner={"quick": True, "stress": 20, "build_limit": 30, "keep": True},
    )
    line = words(request_of(lab, "one", K))
    tree = "'/home/me/my\\ tree v4l2loopback-dkms'"
    assert line == f"kmodlab matrix --kernels {K} --modules {tree} --only one --quick --stress 20 --build-limit 30"
    assert words(request_of(lab, "one", K, keep=True)).endswith(" --quick --keep --stress 20 --build-limit 30")


def test_what_cannot_be_repeated_says_why(tmp_path: Path) -> None:
    lab = planned(tmp_path, ("one",))
    with pytest.raises(LabError, match="has no cell of two on"):
        request_of(lab, "two", K)
    with pytest.raises(LabError, match="does not say how it was asked for"):
        request_of(asked(lab, asked=""), "one", K)
    answer = CliRunner().invoke(main, ["repro", "one"])
    assert answer.exit_code == 2
