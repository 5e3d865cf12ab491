"""Which memory grows with the loads, and which only comes and goes."""

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kmodlab.guest.shell import AGENTS, Result
from kmodlab.verify.module import StageError
from kmodlab.verify.stress import BATCHES, LOAD_LIMIT, MEASURE_LIMIT, Stress, growth


class Module:
    """As much of a module as stress asks for; `python` is what runs an agent on its target."""

    entry = SimpleNamespace(limit=1, parameters="")
    ko = kname = "m"

    def __init__(self, python: Callable[..., Result] | None = None) -> None:
        self.guest = SimpleNamespace(sh=lambda *words, **options: None, python=python)

    def prepare(self) -> str:
        return ""


def series(*values: int, name: str = "slab kmalloc-128") -> list[dict[str, int]]:
    return [{name: value} for value in values]


def test_one_object_a_load_is_growth() -> None:
    (reason,) = growth(series(1000, 1021, 1040, 1060, 1079, 1101), 20).values()
    assert reason == "slab kmalloc-128 +1.0 (from 1000 to 1101)"


def test_what_comes_and_goes_is_none() -> None:
    assert growth(series(1000, 1300, 1010, 1250, 990, 1280), 20) == {}


def test_one_great_step_is_none() -> None:
    for place in range(1, 6):
        assert growth(series(*[1000] * place, *[5000] * (6 - place)), 20) == {}


def test_little_growth_that_does_not_depend_on_the_loads_is_none() -> None:
    assert growth(series(1000, 1003, 1006, 1009, 1012, 1015), 20) == {}


def test_what_a_kernel_did_not_have_at_first_counts_from_nothing() -> None:
    measures = [{}, *series(20, 40, 60, 80, 100, name="vmalloc of an unloaded module")]
    assert growth(measures, 20) == {"vmalloc of an unloaded module": "vmalloc of an unloaded module +1.0 (from 0 to 100)"}


def test_the_strongest_comes_first() -> None:
    measures = [{"slab file": 20 * n, "slab buffer": 60 * n} for n in range(6)]
    assert list(growth(measures, 20)) == ["slab buffer", "slab file"]


@pytest.mark.parametrize(("again", "found"), [(0, False), (20, True)])
def test_only_what_grows_twice_is_a_fault(again: int, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    measures = iter([{"slab file": 20 * n} for n in range(BATCHES)] + [{"slab file": again * n} for n in range(BATCHES)])
    monkeypatch.setattr(Stress, "_batch", lambda stress, size: next(measures))
    stress = Stress(Module(), 20 * BATCHES, 2)  # type: ignore[arg-type]
    if found:
        with pytest.raises(StageError, match=r"slab file \+1\.0"):
            stress.run()
    else:
        stress.run()


def test_a_batch_has_time_for_its_loads_and_to_take_stock() -> None:
    """Seen on a busy machine: taking stock took longer than the one load of a small batch may."""
    limits = []

    def python(code: str, *, timeout: float, **options: object) -> Result:
        limits.append(timeout)
        return Result(0, "{}", "")

    for loads in (BATCHES, 20 * BATCHES):
        Stress(Module(python), loads, 2).run()  # type: ignore[arg-type]
    assert set(limits[:BATCHES]) == {MEASURE_LIMIT + LOAD_LIMIT}
    assert set(limits[BATCHES:]) == {MEASURE_LIMIT + 20 * LOAD_LIMIT}


def batch(call: Callable[..., int], path: Path, loads: int) -> list[str]:
    """What is wrong with a batch on two processors whose kernel answers so: the agent itself, without its last lines."""
    text = (AGENTS / "stress.py").read_text().partition("\nBatch(json.load")[0]
    agent: dict[str, Any] = {"__name__": "agent"}
    exec(compile(text, "stress.py", "exec"), agent)  # noqa: S102
    agent.update(call=call, PATIENCE=0.2, FRUITLESS=50)
    work = agent["Batch"]({"path": str(path), "name": "toy", "parameters": "", "loads": loads, "cpus": 2})
    work.loop(min(os.sched_getaffinity(0)))
    problems: list[str] = work.problems
    return problems


def test_a_module_that_will_not_load_again_is_told_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "toy.ko").touch()
    answers = itertools.chain([0, 0], itertools.cycle([errno.EBUSY, errno.ENOENT]))  # to insmod, to rmmod
    problem, *_ = batch(lambda *_: next(answers), tmp_path / "toy.ko", 10)
    assert problem in ("insmod: Device or resource busy", "rmmod: No such file or directory")


def test_what_the_other_processor_is_ahead_with_is_no_refusal(tmp_path: Path) -> None:
    (tmp_path / "toy.ko").touch()
    answers = itertools.cycle([errno.EEXIST, errno.ENOENT] * 40 + [0, 0])
    assert batch(lambda *_: next(answers), tmp_path / "toy.ko", 10) == []
