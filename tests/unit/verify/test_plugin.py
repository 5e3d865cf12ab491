"""The plugin, its worker and a module's life, on a stand-in for a target: the agent, the connections and the tests are real."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from textwrap import dedent

import pytest
from standin import BOARD as K
from standin import StandIn, planned

from kmodlab.build import needs
from kmodlab.ground.cache import REPOSITORY
from kmodlab.guest import kmemleak, shell
from kmodlab.results.contract import Cell, Stage, Verdict
from kmodlab.results.folder import Expected
from kmodlab.run.column import KEPT
from kmodlab.run.lab import FILE, Lab
from kmodlab.verify import life_cycle

pytest_plugins = ["pytester"]
OOPS = "printk 'BUG: kernel NULL pointer dereference, address: 0000000000000000'"
FIXTURES = """
import pytest

@pytest.fixture
def guest(worker):
    return worker.guest

@pytest.fixture
def loaded(module):
    module.load(module.entry.parameters)
    yield module
    module.unload_if_loaded()
"""
"""For behaviour tests that stand beside the life cycles, and not in the sandbox."""
TOLD = {"version": "1.0", "srcversion": "ABC", "signer": "kmodlab"}
"""What modinfo says of each module."""


@dataclass
class Bench:
    """A planned run of some modules on the stand-in, and a folder of behaviour tests."""

    machine: StandIn
    lab: Lab
    pytester: pytest.Pytester

    def verify(self, *words: str, tests: str = "", status: int | None = None) -> dict[str, Cell]:
        """Have the plugin verify the cells, with behaviour tests of these bodies beside the life cycles; the cells then."""
        column = self.lab.column(K)
        column.deploy_to(column.target.guest())
        self.pytester.makepyfile(test_own_behaviour=f"{FIXTURES}\n{dedent(tests)}")
        answer = self.pytester.runpytest_inprocess(
            *("-p", "no:kmodlab", "-p", "kmodlab.verify.plugin", "-p", "no:cacheprovider", "-p", "no:labgrid"),
            *("--rootdir=/", "--timeout=60"),
            *(f"--kmodlab-run={self.lab.run.folder}", f"--kmodlab-kernel={K}"),
            *(str(REPOSITORY / "tests/verify/test_life_cycle.py"), "test_own_behaviour.py", *words),
            no_reraise_ctrlc=True,
        )
        assert status is None or answer.ret == status
        return {cell.module: cell for cell in self.lab.run.collect().cells}


Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> Make:
    """A bench of modules of these names, and of what its catalog says of them."""

    def bench(*names: str, catalog: str = "modules: {}") -> Bench:
        machine = StandIn(tmp_path / "machine")
        monkeypatch.setenv("PATH", f"{machine.make()}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setattr(needs, "_told", lambda folder, files: {f"{name}.ko": TOLD for name in names})
        monkeypatch.setattr(life_cycle, "LOG_LINE_LIMIT", 0.3)
        lab = planned(tmp_path, names, catalog)
        for name in names:
            for stage in (Stage.SIGN, Stage.DEPLOY):
                lab.column(K).record(name, stage, Verdict.PASS)
        lab.column(K).target.start()
        return Bench(machine, lab, pytester)

    return bench


def said(cells: dict[str, Cell]) -> dict[str, tuple[str, str, str]]:
    return {name: (str(cell.verdict), str(cell.stage), cell.reason) for name, cell in cells.items()}


PROMISES = """
modules:
  quiet: {at_load: ["quiet: hello"]}
  empty: {paths: [/proc/empty]}
  keeps: {paths: [/proc/keeps]}
  sleeps: {limit: 0.5}
"""
FAULTS: dict[str, tuple[str, str, str, str]] = {
    # what it does when it is loaded, when it is unloaded; the stage at which it fails, and why
    "good": ("printk 'good: hello'", "", "log", ""),
    "refuses": ("rm -r sys/module/$name; refuse 'could not insert: No such device'; exit 1", "", "load", "No such device"),
    "quiet": ("", "", "load", "the promised log line /quiet: hello/ did not come"),
    "empty": ("", "", "load", "promised files: not there while loaded: .*/proc/empty"),
    "coming": ("echo coming >sys/module/$name/initstate", "", "load", "in /sys/module: initstate is coming"),
    "hidden": ("sed -i /hidden/d proc/modules", "", "load", "in lsmod: hidden is not in /proc/modules"),
    "older": ("echo 0.9 >sys/module/$name/version", "", "load", "version: /sys/module says '0.9', the file '1.0'"),
    "other": ("echo DEF >sys/module/$name/srcversion", "", "load", "srcversion: /sys/module says 'DEF', the file 'ABC'"),
    "sleeps": ("exec sleep 9", "", "load", "did not end within 0.5 s"),
    "oops": (OOPS, "", "log", "oops: BUG: kernel NULL pointer dereference"),
    "warns": ("taint 512", "", "log", "taint W"),
    "holes": ("for each in 1 2 3; do echo lost >>kmsg.log; done", "", "log", "the log cannot be trusted"),
    "busy": ("", "refuse 'Module busy is in use'; exit 1", "unload", "Module busy is in use"),
    "stays": ("", "rm -r sys/module/$name; exit 0", "unload", "module gone: still in /proc/modules: stays"),
    "once": ("[ ! -e run/once ] || { refuse 'Bad address'; exit 1; }; touch run/once", "", "load", "loaded again: Bad address"),
    "keeps": ("touch proc/keeps", "", "unload", "nothing left behind: still there after unloading: .*/proc/keeps"),
    "leaves-class": ("touch sys/class/net/left", "", "unload", "nothing left behind: .*/sys/class/net/left"),
    "leaves-bus": ("mkdir -p sys/bus/left", "", "unload", "nothing left behind: .*/sys/bus/left"),
    "leaves-dev": ("touch dev/left", "", "unload", "nothing left behind: .*/dev/left"),
    "leaves-number": ("echo '240 left' >proc/devices", "", "unload", "nothing left behind: .*/proc/devices: 240 left"),
    "leaves-irq": ("echo ' 40:  0  IO-APIC  40-edge  left' >>proc/interrupts", "", "unload", "left behind: .*interrupt left"),
}  # fmt: skip


def test_each_fault_in_a_modules_life_is_seen_and_is_its_own(make: Make) -> None:
    """All on one machine, one after the other: none of them harms the next."""
    bench = make(*FAULTS, catalog=PROMISES)
    for name, (insmod, rmmod, _, _) in FAULTS.items():
        bench.machine.module(name.replace("-", "_"), insmod=insmod, rmmod=rmmod)
    cells = bench.verify()
    for name, (_, _, stage, reason) in FAULTS.items():
        cell = cells[name]
        assert (cell.verdict, cell.stage) == (Verdict.FAIL if reason else Verdict.PASS, stage), (name, cell)
        assert re.search(reason, cell.reason), cell


def test_memory_that_is_lost_and_a_detector_that_has_gone_are_told_of(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmemleak, "SCANS", "cat report; rm report; [ ! -e broken ]")
    bench = make("good", "loses", "next", "breaks")
    (bench.machine.folder / "detector").touch()
    bench.machine.run("boot")
    report = 'unreferenced object 0xffff888003a52a00 (size 128):\\n  comm "insmod", pid 143, jiffies 4294672302\\n'
    bench.machine.module("loses", insmod=f"printf '{report}' >report")
    bench.machine.module("breaks", insmod="touch broken")
    for name in ("good", "next"):
        bench.machine.module(name, insmod=": >report")
    cells = bench.verify()
    assert (cells["good"].verdict, cells["next"].verdict) == (Verdict.PASS, Verdict.PASS), said(cells)
    assert said(cells)["loses"][:2] == ("fail", "log")
    assert "leak: nothing points to 128 bytes in 1 objects any more; the first, of 128, was insmod's" in cells["loses"].reason
    assert said(cells)["breaks"][:2] == ("error", "log") and "the search for leaks failed" in cells["breaks"].reason


def test_a_connection_that_is_lost_in_the_middle_of_a_command_costs_one_cell(make: Make) -> None:
    bench = make("one", "two")
    bench.machine.module("one", insmod="die")
    cells = bench.verify()
    assert said(cells)["one"][:2] == ("fail", "load") and cells["one"].reason.startswith("the machine booted again by itself: ")
    assert "the connection was lost during" in (bench.lab.run.folder / cells["one"].log).read_text()
    assert cells["two"].verdict is Verdict.PASS, said(cells)


def test_an_agent_that_stops_answering_costs_one_cell(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it gives up as soon as it has stopped: any time limit is too short on a busy machine."""
    bench = make("one", "two")
    number = bench.machine.folder / "stopped"
    bench.machine.module("one", insmod=f"agent=$(ps -o ppid= -p $PPID); echo $agent >{number}; kill -STOP $agent")

    def stopped() -> bool:
        try:
            state = Path(f"/proc/{int(number.read_text())}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return False
        return state == "T"

    class Answers(Queue[bytes]):
        def get(self, block: bool = True, timeout: float | None = None) -> bytes:
            deadline = time.monotonic() + (timeout or 0)
            while time.monotonic() < deadline and not stopped():
                with suppress(Empty):
                    return super().get(timeout=0.01)
            raise Empty

    monkeypatch.setattr(shell, "Queue", Answers)
    cells = bench.verify()
    assert said(cells)["one"][:2] == ("fail", "load")
    assert re.search(r"no answer within \d+ s to: echo .== insmod", cells["one"].reason), cells["one"].reason
    assert cells["two"].verdict is Verdict.PASS, said(cells)


def test_a_module_of_a_name_that_the_kernel_has_is_told_so_and_the_kernels_own_stays(make: Make) -> None:
    """The network card's driver, say: who takes that away takes the machine away."""
    bench = make("one", "two")
    bench.machine.run("insmod", str(bench.lab.column(K).ko("one")))
    bench.machine.module("one", rmmod="touch taken_away")
    cells = bench.verify()
    assert said(cells)["one"] == ("fail", "load", "the kernel has a module one of its own loaded: rename this one")
    assert cells["two"].verdict is Verdict.PASS and not (bench.machine.folder / "taken_away").exists()


def test_a_machine_that_does_not_come_back_is_an_error_of_all_but_the_one_that_killed_it(make: Make) -> None:
    bench = make("one", "two", "three")
    bench.machine.module("two", insmod=f"{OOPS}; touch down; die")
    cells = bench.verify()
    assert said(cells)["one"] == ("pass", "log", "")
    assert said(cells)["two"][:2] == ("fail", "load")
    assert said(cells)["three"][:2] == ("error", "load") and "did not come back within 2 s" in cells["three"].reason


def test_what_a_module_did_is_not_forgotten_because_its_machine_came_back_without_modules(make: Make) -> None:
    bench = make("one", "two", "three")
    bench.machine.module("one", insmod=f"{OOPS}; touch full")
    cells = bench.verify()
    assert said(cells)["one"][:2] == ("fail", "log") and "oops: BUG" in cells["one"].reason
    for name in ("two", "three"):
        assert said(cells)[name][:2] == ("error", "load")
        assert "the modules cannot be deployed: tar: ./one.ko: Cannot write: No space left on device" in cells[name].reason


def test_a_test_that_is_over_its_time_limit_does_not_put_later_answers_one_off(make: Make) -> None:
    bench = make("one", "two")
    tests = """
        @pytest.mark.module("one")
        @pytest.mark.timeout(1, func_only=True)
        def test_long(guest):
            guest.sh("sleep 2; echo one")

        @pytest.mark.module("one")
        def test_next(guest):
            assert guest.sh("echo two").stdout == "two\\n"
    """
    cells = bench.verify(tests=tests)
    assert said(cells)["one"][:2] == ("fail", "behaviour") and "long: Failed: Timeout" in cells["one"].reason
    assert [check.name for check in cells["one"].checks if check.name == "test_next"] == ["test_next"]
    assert cells["two"].verdict is Verdict.PASS, said(cells)


def test_each_behaviour_test_is_told_of_and_finds_its_module_unloaded_or_loaded(make: Make) -> None:
    bench = make("one", "two", "three", catalog="modules:\n  one: {parameters: who=me}")
    tests = """
        @pytest.mark.module("one")
        def test_unloaded(module):
            assert not module.is_loaded()

        @pytest.mark.module("one")
        def test_loaded(loaded, worker):
            assert loaded.is_loaded() and worker.guest is loaded.guest

        @pytest.mark.module("one")
        def test_skips():
            pytest.skip("not today")

        @pytest.mark.module("two")
        def test_wrong(loaded):
            assert loaded.guest.sh("echo no").stdout == "yes"
    """
    cells = bench.verify(tests=tests)
    told = {check.name: (check.verdict, check.reason) for check in cells["one"].checks if check.name.startswith("test_")}
    assert (told["test_unloaded"][0], told["test_loaded"][0], told["test_skips"][0]) == ("pass", "pass", "skip")
    assert told["test_skips"][1] == "not today"
    assert said(cells)["two"][:2] == ("fail", "behaviour") and cells["two"].reason.startswith("wrong: expected ")
    assert not (bench.machine.folder / "sys/module/two").exists(), "what a test leaves loaded is unloaded"
    assert "no test of its own" in [check.name for check in cells["three"].checks]


def test_a_test_that_brings_its_target_back_keeps_the_log_that_begins_then(make: Make) -> None:
    bench = make("one", "two")
    tests = f"""
        @pytest.mark.module("one")
        def test_back(worker):
            worker.restore()
            worker.guest.sh({OOPS!r})
    """
    cells = bench.verify(tests=tests)
    assert said(cells)["one"][:2] == ("fail", "log") and "oops: BUG: kernel NULL pointer" in cells["one"].reason
    assert cells["two"].verdict is Verdict.PASS, said(cells)


def test_what_an_interrupted_worker_has_not_seen_is_no_pass(make: Make) -> None:
    bench = make("one", "two")
    tests = """
        @pytest.mark.module("one")
        def test_interrupted():
            raise KeyboardInterrupt
    """
    cells = bench.verify(tests=tests)
    assert said(cells)["two"][0] == "error"


def test_a_test_that_belongs_to_no_cell_is_refused(make: Make) -> None:
    cells = make("one").verify(tests="def test_lost():\n    pass\n", status=pytest.ExitCode.USAGE_ERROR)
    assert said(cells)["one"][0] == "error"


def test_only_one_cell_is_verified_where_one_is_asked_for(make: Make) -> None:
    cells = make("one", "two").verify("--kmodlab-only=two")
    assert (said(cells)["one"][0], said(cells)["two"][0]) == ("error", "pass")


def keeping(bench: Bench) -> Bench:
    """The same bench, whose run keeps the machine of the first cell that fails."""
    order = bench.lab.order
    kept = order.model_copy(update={"manner": order.manner.model_copy(update={"keep": True})})
    (bench.lab.run.folder / FILE).write_text(kept.model_dump_json())
    return bench


@pytest.mark.parametrize(
    ("insmod", "tests", "stage"),
    [
        (OOPS, "", "log"),
        ("rm -r sys/module/$name; refuse 'No such device'; exit 1", "", "load"),
        ("", "@pytest.mark.module('bad')\ndef test_it(): assert 0", "behaviour"),
    ],
)
def test_a_machine_is_kept_as_the_first_who_fails_has_left_it(make: Make, insmod: str, tests: str, stage: str) -> None:
    bench = keeping(make("good", "bad", "next"))
    bench.machine.module("bad", insmod=f"{insmod}\ntouch run/touched" if "exit" not in insmod else f"touch run/touched; {insmod}")
    before = bench.machine.boots
    found = said(bench.verify(tests=tests))
    assert found["good"][0] == "pass" and found["bad"][:2] == ("fail", stage)
    assert found["next"] == ("skip", "load", "not run: the machine is kept as bad left it")
    column = bench.lab.column(K)
    assert column.kept == "bad" and column.stop() is False
    assert bench.machine.boots == before and (bench.machine.folder / "run/touched").exists()
    assert str(column.machine) in (bench.lab.run.folder / KEPT).read_text()


def test_a_failure_that_is_expected_keeps_no_machine(make: Make) -> None:
    bench = keeping(make("bad", "next"))
    plan = bench.lab.run.planned
    expected = Expected(stage=Stage.LOAD, reason="no device")
    cells = [cell.model_copy(update={"expect": expected if cell.module == "bad" else None}) for cell in plan.cells]
    bench.lab.run.plan(plan.kernels, plan.modules, cells)
    bench.machine.module("bad", insmod="rm -r sys/module/$name; refuse 'No such device'; exit 1")
    found = said(bench.verify())
    assert (found["bad"][0], found["next"][0]) == ("pass", "pass"), found
    assert not bench.lab.column(K).kept


def test_what_comes_when_a_module_has_gone_is_its_own(make: Make) -> None:
    bench = make("one", "two")
    bench.machine.module("two", rmmod=f'later "sleep 1" "{OOPS}"')
    cells = bench.verify(str(REPOSITORY / "tests/retrial"), "--kmodlab-afterwards=2")
    assert cells["one"].verdict is Verdict.PASS
    assert said(cells)["two"][:2] == ("fail", "log") and "when it had gone: oops: BUG" in cells["two"].reason


def test_a_run_that_is_not_there_is_refused_in_one_line(make: Make, pytester: pytest.Pytester, tmp_path: Path) -> None:
    for words, reason in (
        ((), "needs --kmodlab-run and --kmodlab-kernel"),
        ((f"--kmodlab-run={tmp_path / 'none'}", "--kmodlab-kernel=x"), "none"),
    ):
        answer = pytester.runpytest_inprocess("-p", "no:kmodlab", "-p", "kmodlab.verify.plugin", "-p", "no:labgrid", *words)
        assert answer.ret == pytest.ExitCode.USAGE_ERROR
        assert reason in answer.stderr.str()
