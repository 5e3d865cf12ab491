"""What was found out about a submission, and what that is worth. Kept as one file a student; everything else is made of these."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kmodlab.plan.assignment import Assignment, Deduction
from kmodlab.results.contract import Finding, Model

GRADED, MISSING, ERROR = "graded", "missing", "error"
COMPLAINTS = {
    "warnings": "warnings of the compiler",
    "sparse": "complaints of sparse and W=1",
    "checkpatch": "complaints of checkpatch about style",
}
"""The fields of `Deductions`, in words."""


class Item(Model):
    """One thing that has points, on one kernel."""

    name: str
    """build, load, unload, log, or a test's function."""
    test: bool = False
    hidden: bool = False
    cases: int = 1
    passed: int = 0
    reason: str = ""
    """Why not all of them passed, in one line."""
    findings: list[Finding] = Field(default_factory=list)
    """What the kernel's log said meanwhile that is a fault."""

    @property
    def whole(self) -> bool:
        """Whether all of it passed."""
        return self.passed == self.cases


class Sitting(Model):
    """A submission on one kernel."""

    kernel: str
    release: str
    items: list[Item]
    complaints: dict[str, list[str]] = Field(default_factory=dict)
    """By kind (`COMPLAINTS`), each in a line."""


class Grade(Model):
    """A submission. `error` is the lab's fault, and no zero: it is tried again."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    student: str
    assignment: str
    key: str
    """A digest of all that the points depend on."""
    handed_in: str = ""
    """When the newest of its files was last changed, RFC 3339."""
    verdict: Literal["graded", "missing", "error"]
    reason: str = ""
    """Why it is not graded."""
    sittings: list[Sitting] = Field(default_factory=list)


class Mark(Model):
    """What one thing is worth, and what a submission got for it: for a deduction less than nothing."""

    name: str
    points: int
    most: int
    items: list[Item] = Field(default_factory=list)
    """On each kernel, in the assignment's order; of a deduction none."""
    complaints: list[str] = Field(default_factory=list)
    """Of a deduction."""

    @property
    def worst(self) -> Item | None:
        """As it was on the kernel where it did worst, the first of them."""
        return min(self.items, key=lambda item: item.passed * 1000 // item.cases, default=None)


def marks(assignment: Assignment, grade: Grade) -> list[Mark]:
    """A submission's points, thing by thing, deductions last."""
    found = []
    for name, most in assignment.worth.items():
        items = [item for sitting in grade.sittings for item in sitting.items if item.name == name]
        points = min((most * item.passed // item.cases for item in items), default=0)
        found.append(Mark(name=name, points=points if grade.verdict == GRADED else 0, most=most, items=items))
    for kind in COMPLAINTS:
        rule: Deduction | None = getattr(assignment.deductions, kind)
        said = max((sitting.complaints.get(kind, []) for sitting in grade.sittings), key=len, default=[])
        if said:
            taken = min(rule.each * len(said), rule.at_most) if rule else 0
            found.append(Mark(name=kind, points=-taken, most=0, complaints=said))
    return found


def total(found: list[Mark]) -> int:
    """All points: never less than none."""
    return max(0, sum(mark.points for mark in found))
