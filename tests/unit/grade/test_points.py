"""How what was found out becomes points."""

import pytest
from grade.papers import paper, sitting

from kmodlab.grade.record import total


def points(*sittings: object) -> dict[str, int]:
    return {mark.name: mark.points for mark in paper("ada", *sittings).marks}  # type: ignore[arg-type]


def test_all_of_it_is_all_points() -> None:
    assert paper("ada", sitting(), sitting("two")).points == 47


def test_of_a_test_with_several_cases_there_is_a_share_rounded_down() -> None:
    assert [points(sitting(test_secret=cases))["test_secret"] for cases in range(4)] == [0, 2, 4, 7]


def test_each_thing_counts_as_on_the_kernel_where_it_did_worst() -> None:
    assert points(sitting(test_open=0), sitting("two", load=0)) == {"build": 10, "load": 0, "test_open": 0, "test_secret": 7}


@pytest.mark.parametrize(("warnings", "taken"), [(0, 0), (1, 2), (2, 4), (3, 5), (100, 5)])
def test_complaints_take_so_much_each_and_no_more_than_the_most(warnings: int, taken: int) -> None:
    found = points(sitting(warnings=warnings), sitting("two"))
    assert found.get("warnings", 0) == -taken


def test_nobody_has_less_than_nothing() -> None:
    found = paper("ada", sitting(build=0, load=0, test_open=0, test_secret=0, warnings=3))
    assert total(found.marks) == 0 and found.points == 0


def test_what_was_not_seen_has_no_points_and_what_the_lab_lost_is_no_zero() -> None:
    assert paper("ada", verdict="missing", reason="not there").points == 0
    assert paper("ada", sitting(), verdict="error", reason="no disk").points is None
