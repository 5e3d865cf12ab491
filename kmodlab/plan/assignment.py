"""An assignment: what is set, handed in and tested, and what each of it is worth. `assignment.yml` in a folder of its own.

That folder is a project of kmodlab's with a few files more:

    assignment.yml       this
    README.md            the text
    Makefile catalog.yml as of any project
    letterbox.c          the solution, with TODO marks: what is between them is not given out
    tests/ hidden/       what students have, and what they have not
    mutants.yml          solutions that are wrong, each of which the tests must catch; may be missing

The keys are described once, at the fields of `Assignment` and `Mutants`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular
from kmodlab.plan.catalog import FILE as CATALOG
from kmodlab.plan.catalog import LARGEST, load_catalog, parsed
from kmodlab.results.contract import Name, one_line

FILE = "assignment.yml"
MUTANTS = "mutants.yml"
TEXT = "README.md"
VISIBLE = "tests"
HIDDEN = "hidden"
LIFE = ("build", "load", "unload", "log")
"""What is looked at of every module, beside its tests."""
RULES = ("Makefile", "Kbuild", CATALOG, FILE, MUTANTS)
"""Files that nobody hands in: they say what is built and judged."""


def _not_ours(name: str) -> str:
    if name in RULES:
        raise ValueError(f"{name} says what is built and judged: it is never a student's")
    return name


FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$"), AfterValidator(_not_ours)]
"""Of a file beside assignment.yml."""
TestName = Annotated[str, StringConstraints(pattern=r"^test_\w+$")]
PointsOf = Annotated[int, Field(ge=0, le=100_000)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True, use_attribute_docstrings=True)


class Life(_Entry):
    """Points for what every module is to do."""

    build: PointsOf = 0
    """It builds."""
    load: PointsOf = 0
    """It loads, and keeps the catalog's promises."""
    unload: PointsOf = 0
    """It unloads, leaves nothing behind, and does so again."""
    log: PointsOf = 0
    """The kernel finds no fault while it does both."""


class Deduction(_Entry):
    """Points that are taken for each complaint of a kind."""

    each: Annotated[int, Field(ge=1)]
    at_most: Annotated[int, Field(ge=1)]


class Deductions(_Entry):
    """What is taken off; what is not named is told, and costs nothing."""

    warnings: Deduction | None = None
    """The compiler's, as the kernel's own build has it."""
    sparse: Deduction | None = None
    """Those of sparse, and the compiler's further ones (W=1)."""
    checkpatch: Deduction | None = None
    """Those of the kernel's own checkpatch.pl about style."""


class Assignment(_Entry):
    """An assignment."""

    schema_version: Literal[1] = Field(alias="schema")
    title: Annotated[str, StringConstraints(min_length=1)]
    module: Name
    """Which module is judged: one that the Makefile builds."""
    files: Annotated[list[FileName], Field(min_length=1)]
    """What a student hands in. All other files are the assignment's, whatever a student has made of them."""
    kernels: Annotated[list[str], Field(min_length=1)]
    """By id. On several of them, a submission gets for each thing what it got on the kernel where it did worst."""
    points: Life = Life()
    tests: dict[TestName, PointsOf] = {}
    """Points of each test, by its function's name. One with several cases gives its share of them, rounded down."""
    deductions: Deductions = Deductions()
    free: list[str] = []
    """For which of all this the skeleton gets its points: build, load, unload, log, or names of tests."""
    test_limit: Annotated[float, Field(gt=0)] = 120
    """Seconds that one case of a test may take."""

    @model_validator(mode="after")
    def _consistent(self) -> Assignment:
        if unknown := [name for name in self.free if name not in LIFE and name not in self.tests]:
            raise ValueError(f"free: '{unknown[0]}' is none of {', '.join(LIFE)} and no test")
        if not self.most:
            raise ValueError("nothing has any points")
        return self

    @property
    def worth(self) -> dict[str, int]:
        """The points of each thing that has any, and of each test, in order."""
        return {**{name: points for name, points in self.points.model_dump().items() if points}, **self.tests}

    @property
    def most(self) -> int:
        """All points."""
        return sum(self.worth.values())


class Mutation(_Entry):
    """A wrong solution, as a change of the right one."""

    file: FileName
    old: Annotated[str, StringConstraints(min_length=1)]
    """What is there once."""
    new: str
    why: Annotated[str, StringConstraints(min_length=1)]


class Harmless(_Entry):
    """A change of one line that is no mistake, so that no test can tell: automatic mutants leave it out."""

    line: Annotated[str, StringConstraints(min_length=1)]
    """The line as it is in the solution, without blanks around it."""
    why: Annotated[str, StringConstraints(min_length=1)]


class Mutants(_Entry):
    """An assignment's wrong solutions."""

    schema_version: Literal[1] = Field(alias="schema")
    given: list[Mutation] = []
    harmless: list[Harmless] = []


_Model = TypeVar("_Model", bound=_Entry)


def load_assignment(folder: Path) -> Assignment:
    """Read `folder`/assignment.yml, and look whether the files that it speaks of are there. LabError for the first fault."""
    if not (folder / FILE).is_file():
        raise LabError(f"{folder} is no assignment: it has no {FILE}", hint="docs/grading.md shows one")
    found = _read(folder / FILE, Assignment)
    for name in found.files:
        if not (folder / name).is_file():
            raise LabError(f"{folder / FILE}: files: there is no {folder / name}", hint="write the solution there")
    if not any((folder / name).is_file() for name in ("Makefile", "Kbuild")):
        raise LabError(f"{folder} has no Makefile", hint=f"write one with `obj-m += {found.module}.o`")
    load_catalog(folder)
    return found


def load_mutants(folder: Path) -> Mutants:
    """Read `folder`/mutants.yml; none where there is no such file. LabError for its first fault."""
    path = folder / MUTANTS
    if not path.exists():
        return Mutants(schema_version=1)
    found = _read(path, Mutants)
    for number, each in enumerate(found.given):
        text = (folder / each.file).read_text() if (folder / each.file).is_file() else ""
        if (times := text.count(each.old)) != 1:
            raise LabError(
                f"{path}: given.{number}: {each.file} has {times} times {each.old!r}", hint="name a text that it has once"
            )
    return found


def _read(path: Path, model: type[_Model]) -> _Model:
    try:
        text = read_regular(path, LARGEST).decode()
    except (LabError, UnicodeDecodeError) as problem:
        raise LabError(f"{path}: cannot be read: {one_line(str(problem))}") from problem
    try:  # through JSON, which strict models take lists and mappings from
        return model.model_validate_json(json.dumps(parsed(path, text), default=str))
    except ValidationError as problem:
        first = problem.errors()[0]
        where = "".join(f"{part}." for part in first["loc"] if part != "[key]").rstrip(".") or "the file"
        said = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        said = said.removeprefix("Input ")
        raise LabError(f"{path}: {where}: {one_line(said)}", hint=f"`kmodlab schema {path.stem}` describes the keys") from problem
