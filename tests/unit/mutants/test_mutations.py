"""The mutations of the examples fit the sources as they are."""

import shutil
from pathlib import Path

import pytest
import yaml
from mutate import REPOSITORY, Mutation, fate, load, rounds

CATALOG = yaml.safe_load((REPOSITORY / "examples/catalog.yml").read_text())


def test_each_example_has_two() -> None:
    counted = {name: sum(mutation.module == name for mutation in load()) for name in CATALOG["modules"]}
    assert {name: n for name, n in counted.items() if n < 2} == {}


@pytest.mark.parametrize("mutation", load(), ids=str)
def test_what_it_changes_stands_there_once(mutation: Mutation, tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "examples" / mutation.file, tmp_path)
    mutation.apply(tmp_path)
    assert mutation.old != mutation.new


def test_rounds_change_no_cell_twice() -> None:
    for each in rounds(load()):
        cells = [cell for mutation in each for cell in mutation.cells]
        assert len(cells) == len(set(cells))
        assert len({mutation.kernel for mutation in each}) == 1, "a round is one run on one kernel"


def test_what_does_not_build_was_not_tried() -> None:
    assert fate([{"stage": "build", "verdict": "fail"}]) == "was not tried"
    assert fate([]) == "was not tried"
    assert fate([{"stage": "load", "verdict": "error"}]) == "was not tried"
    assert fate([{"stage": "log", "verdict": "pass"}, {"stage": "behaviour", "verdict": "fail"}]) == "killed"
    assert fate([{"stage": "log", "verdict": "pass"}]) == "lives"
