"""A project's own tests: what they get, what they cannot reach, and what becomes of those that fail. On a stand-in for a target,
in the real sandbox.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from textwrap import dedent

import pytest
from standin import BOARD as K
from standin import StandIn, planned

from kmodlab.results.contract import Cell, Stage, Verdict
from kmodlab.run.lab import FILE, Lab
from kmodlab.stages.work import run_stage

HEAD = "import pytest\npytestmark = pytest.mark.module('one')\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    machine = StandIn(tmp_path / "machine")
    monkeypatch.setenv("PATH", f"{machine.make()}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return machine


def verified(tmp_path: Path, *names: str, **files: str) -> dict[str, Cell]:
    """The cells of a run of modules of these names, whose project has these tests."""
    lab = planned(tmp_path, names)
    tests = tmp_path / "own/tests"
    tests.mkdir(parents=True)
    for name, text in files.items():
        (tests / f"{name}.py").write_text(HEAD + dedent(text))
    order = lab.order.model_copy(update={"tree": lab.order.tree.model_copy(update={"tests": {"": tests}})})
    (lab.run.folder / FILE).write_text(order.model_dump_json())
    for stage in ("sign", "boot", "deploy", "verify"):
        run_stage(Lab.open(lab.run.folder), K, stage)
    return {cell.module: cell for cell in lab.run.collect().cells}


def checks(cell: Cell) -> dict[str, tuple[Verdict, str]]:
    return {check.name: (check.verdict, check.reason) for check in cell.checks if check.stage is Stage.BEHAVIOUR}


def test_they_get_the_target_the_module_and_testinfras_host_and_nothing_of_this_machine(tmp_path: Path, machine: StandIn) -> None:
    machine.module("one", insmod="printk 'one: hello'")
    secret = tmp_path / "secret"
    secret.touch()
    cells = verified(
        tmp_path,
        "one",
        "two",
        test_one=f"""
        import os, socket

        def test_module(module, guest):
            mark = guest.log.mark()
            module.load("a=1")
            guest.log.expect("one: hello", mark)
            assert module.is_loaded()
            module.unload()

        def test_host(loaded, host):
            assert host.run("echo %s; exit 3", "a b").rc == 3
            assert host.check_output("echo %s", "a b") == "a b"

        def test_session(guest):
            session = guest.spawn("echo open; read x; echo got $x; exit 4")
            session.expect("open")
            session.send("it\\n")
            session.expect("got it")
            assert session.wait() == 4

        def test_held():
            assert "PATH" in os.environ and "XDG_RUNTIME_DIR" not in os.environ
            assert not os.path.exists({str(secret)!r})
            with pytest.raises(OSError):
                open({str(tmp_path / "written")!r}, "w")
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", 22), 1)

        def test_skips():
            pytest.skip("not today")
        """,
    )
    assert checks(cells["one"]) == {
        "test_module": (Verdict.PASS, ""),
        "test_host": (Verdict.PASS, ""),
        "test_session": (Verdict.PASS, ""),
        "test_held": (Verdict.PASS, ""),
        "test_skips": (Verdict.SKIP, "not today"),
    }, cells["one"]
    assert cells["one"].verdict is Verdict.PASS and cells["two"].verdict is Verdict.PASS
    assert list(checks(cells["two"])) == ["no test of its own"]
    assert not (tmp_path / "written").exists()


def test_who_fails_says_why_and_who_ends_pytest_or_forgets_a_module_costs_nobody_else_a_verdict(
    tmp_path: Path, machine: StandIn
) -> None:
    machine.module("one")
    cells = verified(
        tmp_path,
        "one",
        "two",
        test_one="""
        import os

        def test_wrong(host):
            assert host.check_output("echo what") == "that"

        def test_ends():
            os._exit(0)

        def test_lies(guest):
            guest.outside._socket.send(b"[1, 2, 3]")

        @pytest.mark.module("two")
        def test_two(loaded):
            assert loaded.name == "two"
        """,
    )
    told = checks(cells["one"])
    assert told["test_wrong"] == (
        Verdict.FAIL,
        """wrong: expected host.check_output("echo what") == "that", but it was 'what' == 'that'""",
    )
    assert told["test_ends"][0] is Verdict.FAIL and "its pytest has ended" in told["test_ends"][1]
    assert told["test_lies"][0] is Verdict.FAIL and "cannot be read" in told["test_lies"][1]
    assert cells["one"].verdict is Verdict.FAIL and cells["one"].stage is Stage.BEHAVIOUR
    assert checks(cells["two"]) == {"test_two": (Verdict.PASS, "")}, cells["two"]


def test_what_tests_share_is_beside_them_and_those_that_only_skip_or_are_expected_to_fail_are_none(
    tmp_path: Path, machine: StandIn
) -> None:
    machine.module("one")
    machine.module("two")
    cells = verified(
        tmp_path,
        "one",
        "two",
        shared="ANSWER = 42",
        test_one="from shared import ANSWER\ndef test_shared(): assert ANSWER == 42",
        test_two="""
        pytestmark = pytest.mark.module("two")

        def test_skips(loaded):
            pytest.skip("not today")

        @pytest.mark.xfail(reason="known")
        def test_known(loaded):
            assert not loaded.is_loaded()
        """,
    )
    assert checks(cells["one"]) == {"test_shared": (Verdict.PASS, "")}, cells["one"]
    assert checks(cells["two"]) == {
        "test_skips": (Verdict.SKIP, "not today"),
        "test_known": (Verdict.SKIP, "it fails, as its mark xfail expects: known"),
    }
    assert cells["two"].only_loaded and not cells["one"].only_loaded


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("def tset_typo(loaded): assert False", "there is none in its files", id="none"),
        pytest.param("class TestIt:\n    def __init__(self): ...\n    def test_x(self): ...", "__init__ constructor", id="class"),
    ],
)
def test_files_in_which_pytest_finds_no_test_are_no_pass(tmp_path: Path, machine: StandIn, text: str, why: str) -> None:
    machine.module("one")
    cell = verified(tmp_path, "one", test_one=text)["one"]
    assert (cell.verdict, cell.stage) == (Verdict.FAIL, Stage.BEHAVIOUR), cell
    assert cell.reason.startswith("the project's tests cannot be run: ") and why in cell.reason, cell.reason


def test_a_test_that_tells_its_answer_instead_of_asserting_it_fails(tmp_path: Path, machine: StandIn) -> None:
    machine.module("one")
    cell = verified(tmp_path, "one", test_one="def test_x(host):\n    return host.run('true').rc == 1")["one"]
    assert checks(cell)["test_x"][0] is Verdict.FAIL, cell


def test_what_cannot_be_run_is_no_pass(tmp_path: Path, machine: StandIn) -> None:
    machine.module("one")
    cell = verified(
        tmp_path,
        "one",
        test_a="def test_x(: pass",
        test_b="import nothing_like_it",
        test_c="@pytest.mark.module('three')\ndef test_x(): pass",
    )["one"]
    assert (cell.verdict, cell.stage) == (Verdict.FAIL, Stage.BEHAVIOUR), cell
    assert cell.reason.startswith("the project's tests cannot be run: "), cell.reason
    for why in (
        r"test_a\.py: SyntaxError: ",
        "test_b.*No module named 'nothing_like_it'",
        r"test_c\.py::test_x is for three: mark it",
    ):
        assert re.search(why, cell.reason), cell.reason
