"""Loads in which an allocation fails: what is asked for, when it ends, and whom it names. A stand-in answers for the target."""

import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from kmodlab.guest.shell import GuestLostError, Look, Result
from kmodlab.judge.classifier import Frame
from kmodlab.results.contract import Stage, Verdict
from kmodlab.verify import failing, module
from kmodlab.verify.failing import NAME, FailingAllocations
from kmodlab.verify.module import StageError

GOOD = '{"failed": true, "load": 12, "unload": 0}'
LAST = '{"failed": false, "load": 0, "unload": 0}'
TRACE = """FAULT_INJECTION: forcing a failure.
name failslab, interval 1, probability 0, space 0, times -1
CPU: 0 PID: 98 Comm: python3 Tainted: G           OE      6.12.118-um #1
Call Trace:
 [<60043f10>] ? m_init+0x70/0x1000 [m]
 [<6095877f>] should_failslab+0xe2/0x138
 [<81000061>] m_init+0x61/0x1000 [m]"""


class Target:
    """A guest whose agent answers so, and which is like this after each attempt."""

    def __init__(self, answers: Iterable[str], looks: Iterable[dict[str, str]] = (), *, offered: bool = True) -> None:
        self.answers, self.looks = iter(answers), iter(looks)
        self.asked: list[str] = []
        self.offered, self.killed = offered, False
        self.name, self.patience = "k", 1.0
        self.log = SimpleNamespace(mark=lambda: 1, since=lambda mark: [SimpleNamespace(text=TRACE)])

    def sh(self, script: str, **options: Any) -> Result:
        return Result(0 if self.offered else 1, "", "")

    def spawn(self, script: str) -> "Target":
        return self

    def send(self, text: str) -> None:
        self.asked.append(text.strip())

    def expect(self, pattern: str, timeout: float) -> str:
        return "ready" if pattern else next(self.answers)

    def kill(self) -> None:
        self.killed = True

    def look_again(self) -> Look:
        return Look({})

    def look(self, *words: Any, **options: Any) -> tuple[Result, Look]:
        return Result(0, "", ""), Look(next(self.looks, {}))


def loads(target: Target) -> tuple[FailingAllocations, list[str]]:
    under_test = SimpleNamespace(
        guest=target,
        entry=SimpleNamespace(limit=1, parameters=""),
        ko="/m.ko",
        kname="m",
        needs=[],
        prepare=lambda: "",
        named=lambda text: text,
    )
    told: list[str] = []
    return FailingAllocations(under_test, lambda frame: "m.c:7", told.append), told  # type: ignore[arg-type]


def test_one_allocation_after_the_other_fails_until_there_is_none() -> None:
    target = Target([GOOD, '{"failed": true, "load": 0, "unload": 0}', LAST])
    life, told = loads(target)
    life.run()
    (check,) = life.checks[Stage.LOAD]
    assert (check.name, check.verdict, check.reason) == (NAME, Verdict.PASS, "each of 2 was tried")
    assert target.asked == ["1", "2", "3"] and target.killed
    assert told[-1] == "", "what comes later is no failing allocation's doing"


def test_what_a_failed_load_left_is_named_with_the_line_of_the_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0)
    target = Target([GOOD, GOOD, LAST], [{}, *([{"/proc/": "left"}] * 9)])
    life, told = loads(target)
    with pytest.raises(
        StageError, match=r"when allocation 2 of its load fails \(m\.c:7\): still there after unloading: /proc/left"
    ):
        life.run()
    (check,) = life.checks[Stage.UNLOAD]
    assert (check.name, check.verdict) == (NAME, Verdict.FAIL)
    assert target.killed and told[-1] == "when allocation 2 of its load fails (m.c:7): "


@pytest.mark.parametrize(
    ("answer", "stage", "words"),
    [
        ('{"failed": true, "load": 0, "unload": 11}', Stage.UNLOAD, r"cannot be unloaded: .*\(EAGAIN\)"),
        ('{"failed": false, "load": 17, "unload": 0}', Stage.LOAD, r"does not load any more: .*\(EEXIST\)"),
    ],
)
def test_a_load_that_is_not_as_it_should_be(answer: str, stage: Stage, words: str) -> None:
    life, _ = loads(Target([answer]))
    with pytest.raises(StageError, match=words) as problem:
        life.run()
    assert problem.value.stage is stage


@pytest.mark.parametrize("answer", ["", "{}", '{"failed": 1}', json.dumps(["failed"]), "Killed"])
def test_an_answer_that_is_none_is_no_verdict(answer: str) -> None:
    life, _ = loads(Target([answer]))
    with pytest.raises(GuestLostError, match="cannot be read"):
        life.run()
    assert not life.checks


def test_a_kernel_that_cannot_do_it_says_so() -> None:
    target = Target([], offered=False)
    life, _ = loads(target)
    life.run()
    (check,) = life.checks[Stage.LOAD]
    assert check.verdict is Verdict.SKIP and "CONFIG_FAILSLAB" in check.reason
    assert not target.asked


def test_a_load_with_very_many_allocations_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failing, "MOST", 3)
    life, _ = loads(Target([GOOD] * 9))
    life.run()
    assert life.checks[Stage.LOAD][0].reason == "the first 3 were tried, of more"


def test_the_place_is_the_modules_own_function() -> None:
    asked: list[Frame] = []
    life, _ = loads(Target([GOOD, LAST]))
    life.where = lambda frame: asked.append(frame) or ""  # type: ignore[func-returns-value]
    life.run()
    assert {(each.function, each.offset, each.module) for each in asked} == {("m_init", 0x61, "m")}
