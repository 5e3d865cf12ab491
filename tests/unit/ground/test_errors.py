"""What went wrong and what mends it, apart and together."""

import pickle

from kmodlab.ground.errors import LabError


def test_a_person_reads_both_in_one_line() -> None:
    problem = LabError("kernel 9.9: no such kernel", hint="leave it out")
    assert (str(problem), problem.what, problem.hint) == (
        "kernel 9.9: no such kernel; leave it out",
        problem.what,
        "leave it out",
    )
    assert str(LabError("disk full")) == "disk full"


def test_a_hint_reaches_another_process() -> None:
    again = pickle.loads(pickle.dumps(LabError("disk full", hint="free some space")))  # noqa: S301 our own
    assert (again.what, again.hint) == ("disk full", "free some space")
