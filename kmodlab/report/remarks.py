"""What is to be said of a run's cells, in few lines, however it is shown: marks, remarks, totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from kmodlab.results.contract import EXPECTED_FAILURE, REACHED, Attempt, Cell, Check, Finding, Results, Verdict

NAMES_SHOWN = 4
"""Of so many modules or kernels the names are given; of more, their number."""


@dataclass(frozen=True)
class Mark:
    """How one outcome looks: `glyph` where the terminal knows UTF-8, else `plain`; `style` is rich's."""

    word: str
    glyph: str
    plain: str
    style: str


MARKS = {
    "pass": Mark("passed", "✔", ".", "green"),
    "loads": Mark("loaded and unloaded only", "✓", ",", "dim green"),
    "xfail": Mark("failed as expected", "x", "x", "cyan"),
    "fail": Mark("failed", "✘", "F", "bold red"),
    "error": Mark("in error", "!", "!", "bold yellow"),
    "skip": Mark("skipped", "–", "-", "dim"),  # noqa: RUF001 - a dash that is as wide as the others
}


def outcome(cell: Cell) -> str:
    """A cell's verdict as a key of MARKS: expected failures, and passes of which no behaviour is known, are told from others."""
    return "xfail" if cell.failed_as_expected else "loads" if cell.only_loaded else cell.verdict.value


@dataclass(frozen=True)
class Remark:
    """Something that is to be said of one cell, or at once of the same modules on the same kernels."""

    outcome: str
    stage: str
    reason: str
    modules: tuple[str, ...]
    kernels: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def first(self) -> Cell:
        """One of its cells, whose log and findings stand for all."""
        return self.cells[0]

    @property
    def again(self) -> list[str]:
        """For each of its cells that failed the command that repeats it."""
        worth = self.outcome in ("fail", "error")
        return [f"kmodlab repro {cell.module}@{cell.kernel}" for cell in self.cells] if worth else []

    @property
    def where(self) -> str:
        """`chardev on 6.1, 6.12`"""
        return f"{_list(self.modules, 'modules')} on {_list(self.kernels, 'kernels')}"

    @property
    def line(self) -> str:
        """Where, at which stage, and why; a skip has no stage."""
        stage = "" if self.outcome == "skip" else f" at {self.stage}"
        return f"{self.where}{stage}: {self.reason}"

    @property
    def meanings(self) -> list[str]:
        """What the kernel's reports in it mean, and where in C they were: `a NULL pointer was used: oops.c:9`."""
        return [meaning(each) for each in self.first.findings if each.severity != "notice"]


def _list(names: Sequence[str], noun: str) -> str:
    return ", ".join(names) if len(names) <= NAMES_SHOWN else f"{len(names)} {noun}"


def meaning(finding: Finding) -> str:
    """A finding in a person's words: what it means, where, and how often it came."""
    where = f": {finding.where[0]}" if finding.where else ""
    times = f" ({finding.count} times)" if finding.count > 1 else ""
    return f"{finding.meaning}{where}{times}"


def short_names(results: Results) -> dict[str, str]:
    """Kernel ids for headings: without the architecture where all have the same."""
    arches = {kernel.arch for kernel in results.kernels}
    drop = f"-{arches.pop()}" if len(arches) == 1 else ""
    return {kernel.id: kernel.id.removesuffix(drop) or kernel.id for kernel in results.kernels}


def remarks(results: Results) -> list[Remark]:
    """What is to be said of cells that did not simply pass: the worst first, the same thing once."""
    short = short_names(results)
    kernels_of: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in results.cells:
        if (kind := outcome(cell)) not in ("pass", "loads"):
            kernels_of.setdefault((kind, cell.stage, why(cell), cell.module), []).append(cell)
    modules_of: dict[tuple[str, str, str, tuple[str, ...]], list[list[Cell]]] = {}
    for (kind, stage, reason, _), cells in kernels_of.items():
        kernels = tuple(short[cell.kernel] for cell in cells)
        modules_of.setdefault((kind, stage, reason, kernels), []).append(cells)
    every = [
        Remark(kind, stage, reason, tuple(cells[0].module for cells in found), kernels, tuple(chain.from_iterable(found)))
        for (kind, stage, reason, kernels), found in modules_of.items()
    ]
    order = ["fail", "error", "xfail", "skip"]
    return sorted(every, key=lambda remark: order.index(remark.outcome))


@dataclass(frozen=True)
class Note:
    """A notice of the kernel's, and the cells in whose time it came."""

    finding: Finding
    where: str


def notices(results: Results) -> list[Note]:
    """What the kernel's logs say that is no fault, the same thing once."""
    short = short_names(results)
    cells: dict[tuple[str, str], list[tuple[Cell, Finding]]] = {}
    for cell in results.cells:
        for finding in cell.findings:
            if finding.severity == "notice":
                cells.setdefault((finding.kind, finding.fingerprint), []).append((cell, finding))
    return [
        Note(
            found[0][1],
            f"{_list(list(dict.fromkeys(cell.module for cell, _ in found)), 'modules')}"
            f" on {_list(list(dict.fromkeys(short[cell.kernel] for cell, _ in found)), 'kernels')}",
        )
        for found in cells.values()
    ]


def retried(results: Results) -> list[str]:
    """The cells that were tried more than once, and how each attempt ended."""
    short = short_names(results)
    return [
        f"{cell.module} on {short[cell.kernel]} was tried {len(cell.attempts)} times: "
        + "; then ".join(_attempt(attempt) for attempt in cell.attempts)
        for cell in results.cells
        if len(cell.attempts) > 1
    ]


def _attempt(attempt: Attempt) -> str:
    word = MARKS[attempt.verdict.value].word
    return word if attempt.verdict is Verdict.PASS else f"{word} at {attempt.stage}: {attempt.reason}"


def about(results: Results) -> str:
    """What the run was, beside its kernels and modules."""
    mode, revision = results.mode, results.revision
    parts = []
    if mode:
        parts += ["life cycles only, no behaviour tests (QUICK)"] if mode.quick else []
        parts += [f"{mode.stress} loads of each module (STRESS)"] if mode.stress else []
        parts += ["kernels that check their memory (CHECKS)"] if mode.checks else []
        parts += ["each allocation of a load fails once (FAULTS)"] if mode.faults else []
        parts += ["the lines that tests reach are counted (COVERAGE)"] if mode.coverage else []
        parts += ["with Secure Boot"] if mode.secureboot else []
        parts += [f"only {' '.join(mode.only)}"] if mode.only else []
    if revision:
        parts += [f"kmodlab is {revision.kmodlab}"] if revision.kmodlab else []
        parts += [f"the modules' files are {revision.modules}"] if revision.modules else []
    return "; ".join(parts)


def reached(results: Results) -> list[tuple[Cell, Check]]:
    """The cells whose lines were counted, and what came of it."""
    return [(cell, check) for cell in results.cells for check in cell.checks if check.name == REACHED]


def in_words(test: str) -> str:
    """A test's name as a sentence's part: `test_a_second_opener_is_busy[chardev]` is `a second opener is busy [chardev]`."""
    name, bracket, parameters = test.partition("[")
    words = name.removeprefix("test_").replace("_", " ")
    return f"{words} [{parameters}" if bracket else words


def why(cell: Cell) -> str:
    """Why a cell got its verdict: the failure that was expected, where one was."""
    return next((check.reason for check in cell.checks if check.name == EXPECTED_FAILURE), cell.reason)


def totals(results: Results) -> str:
    """`40 passed (8 of them loaded and unloaded only), 1 failed, 1 skipped: 42 cells in 3 min 20 s`"""
    kinds = [outcome(cell) for cell in results.cells]
    bare, passed = kinds.count("loads"), kinds.count("pass") + kinds.count("loads")
    of_them = f" ({'all' if bare == passed else bare} of them {MARKS['loads'].word})" if bare else ""
    parts = [f"{passed} {MARKS['pass'].word}{of_them}"] if passed else []
    parts += [
        f"{kinds.count(kind)} {mark.word}" for kind, mark in MARKS.items() if kind in kinds and kind not in ("pass", "loads")
    ]
    return f"{', '.join(parts) or 'nothing ran'}: {len(kinds)} cells in {duration(results.seconds)}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `0.4 s`, `41 s`, `3 min 20 s`, `1 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
