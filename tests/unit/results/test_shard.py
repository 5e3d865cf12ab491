"""Who proves what: the same on every machine, each cell once, what belongs together in one place."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kmodlab.ground.errors import LabError
from kmodlab.results.contract import Cell, Kernel, ModuleInfo, Results, Stage, Verdict
from kmodlab.results.folder import Plan, Planned
from kmodlab.results.shard import CELL, COLUMN, FILE, Division, Shard, bound, costs, divide


@pytest.mark.parametrize("text", ["2/5", "1/1", " 5/5 "])
def test_a_shard_is_a_number_of_so_many(text: str) -> None:
    assert str(Shard.parse(text)) == text.strip()


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/0", "-1/5", "2", "2/", "/5", "a/b", "1.5/2", "2/5/7", "", "1/99999"])
def test_what_is_none_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no shard: it is N/M, with N from 1 to M"):
        Shard.parse(text)


def flat(cost: int, columns: dict[str, list[list[str]]]) -> dict[tuple[str, str], int]:
    return {(kernel, module): cost for kernel, groups in columns.items() for group in groups for module in group}


def loads(columns: dict[str, list[list[str]]], of: int, cost: dict[tuple[str, str], int], **more: set[str]) -> list[int]:
    """What each shard has to do, what its kernels cost it included."""
    owners = divide(columns, of, cost, **more)
    found = [0] * of
    for kernel, modules in owners.items():
        for number in set(modules.values()):
            found[number - 1] += COLUMN
        for module, number in modules.items():
            found[number - 1] += cost[kernel, module]
    return found


def random_columns(seed: int) -> tuple[dict[str, list[list[str]]], dict[tuple[str, str], int], int]:
    dice = random.Random(seed)  # noqa: S311 - the same each time
    columns = {
        f"k{kernel}": [[f"m{group}-{each}" for each in range(dice.randint(1, 3))] for group in range(dice.randint(1, 30))]
        for kernel in range(dice.randint(1, 20))
    }
    return columns, {cell: dice.randint(0, 20_000) for cell in flat(0, columns)}, dice.randint(1, 12)


@pytest.mark.parametrize("seed", range(50))
def test_each_cell_has_one_owner_and_no_group_is_torn(seed: int) -> None:
    columns, cost, of = random_columns(seed)
    owners = divide(columns, of, cost)
    assert {(kernel, module) for kernel, modules in owners.items() for module in modules} == set(cost)
    assert all(1 <= number <= of for modules in owners.values() for number in modules.values())
    for kernel, groups in columns.items():
        assert all(len({owners[kernel][module] for module in group}) == 1 for group in groups)
    assert divide(columns, of, dict(reversed(cost.items()))) == owners, "the order in which costs come decides nothing"


@pytest.mark.parametrize("seed", range(50))
def test_no_shard_is_longer_than_whole_kernels_would_make_it(seed: int) -> None:
    columns, cost, of = random_columns(seed)
    assert max(loads(columns, of, cost)) <= max(loads(columns, of, cost, uncut=set(columns)))


def test_a_kernel_that_is_too_big_is_cut_and_others_are_not() -> None:
    columns = {name: [[f"m{number}"] for number in range(20)] for name in ("slow", "one", "two")}
    cost = {cell: 60_000 if cell[0] == "slow" else 3000 for cell in flat(0, columns)}
    owners = divide(columns, 4, cost)
    assert len(set(owners["slow"].values())) > 1
    assert len(set(owners["one"].values())) == len(set(owners["two"].values())) == 1
    assert max(loads(columns, 4, cost)) < 1_200_000 / 2


def test_what_is_at_one_machine_is_never_cut() -> None:
    columns = {"pi": [[f"m{number}"] for number in range(20)], "vm": [["m0"]]}
    owners = divide(columns, 5, flat(60_000, columns), {"pi"})
    assert len(set(owners["pi"].values())) == 1


def test_short_columns_are_not_cut_for_nothing() -> None:
    columns = {f"k{number}": [["a"], ["b"]] for number in range(3)}
    owners = divide(columns, 3, flat(1000, columns))
    assert sorted(set(modules.values()).pop() for modules in owners.values()) == [1, 2, 3]
    assert all(len(set(modules.values())) == 1 for modules in owners.values())


def test_more_shards_than_cells_leaves_some_with_nothing() -> None:
    owners = divide({"k": [["a"], ["b"]]}, 7, flat(1000, {"k": [["a"], ["b"]]}))
    assert len(set(owners["k"].values())) == 1
    assert divide({}, 3, {}) == {}


def test_who_needs_another_stays_with_it() -> None:
    names = ["hub", "other", "spoke", "alone", "rim"]
    assert bound(names, {"spoke": ["hub"], "rim": ["spoke"], "other": ["not here"]}) == [
        ["hub", "spoke", "rim"],
        ["other"],
        ["alone"],
    ]


def measured(**seconds: float) -> Results:
    cells = [Cell(kernel="k", module=name, verdict=Verdict.PASS, stage=Stage.LOG, seconds=each) for name, each in seconds.items()]
    return Results(run="r", started="2026-11-28T00:00:00Z", seconds=1, kmodlab="0", kernels=[], modules=[], cells=cells)


def test_a_cell_counts_for_its_own_seconds_else_for_its_modules_else_for_the_mean() -> None:
    cells = [Planned(kernel=kernel, module=name) for kernel in ("k", "new") for name in ("one", "two", "skipped", "unknown")]
    found = costs(cells, measured(one=2.0, two=4.0, skipped=0.0))
    assert [found["k", name] for name in ("one", "two", "skipped", "unknown")] == [2000, 4000, 0, 3000]
    assert [found["new", name] for name in ("one", "two", "skipped", "unknown")] == [2000, 4000, 3000, 3000]
    assert set(costs(cells, None).values()) == {CELL}


def test_what_is_kept_is_read_again_and_what_was_changed_is_refused(tmp_path: Path) -> None:
    whole = Plan(
        kernels=[Kernel(id="k", arch="x86_64")],
        modules=[ModuleInfo(name=name, source="", sha256="") for name in "ab"],
        cells=[Planned(kernel="k", module=name) for name in "ab"],
    )
    division = Division(number=1, of=2, whole=whole, owners={"k": {"a": 1, "b": 2}})
    division.write(tmp_path)
    assert Division.of_run(tmp_path) == division
    assert [cell.module for cell in division.cells] == ["a"]
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text().replace('"b":2', '"b":3').replace('"b": 2', '"b": 3'))
    with pytest.raises(LabError, match="nobody owes b on k"):
        Division.of_run(tmp_path)
    with pytest.raises(LabError, match="is no shard"):
        Division.of_run(tmp_path / "elsewhere")
