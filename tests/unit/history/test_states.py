"""What is told of a cell: rules as tables, against a slow reference, and in a replay."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import pytest
from history_nights import replay, row
from hypothesis import given, settings
from hypothesis import strategies as st

from kmodlab.history.row import Row
from kmodlab.history.states import SOLID, STABLE, Blame, Cells, Memory, State, after, fold

CRASH = {"crash": True, "fingerprint": "oops:chardev_open"}


def _after(*rows: Row) -> Memory:
    memory = reduce(after, rows, None)
    assert memory
    return memory


def _story(signs: str, *changed: int) -> list[Row]:
    """A night for each sign; the module was edited before those of `changed`."""
    verdicts = {".": "pass", "F": "fail", "!": "error", "-": "skip"}
    return [row(n, verdicts[s], digest=f"{sum(c <= n for c in changed):016}") for n, s in enumerate(signs)]


@pytest.mark.parametrize(
    ("signs", "changed", "state"),
    [
        (".", (), State.FIRST_SEEN),
        ("..", (), State.PASSING),
        ("F", (), State.NEVER_PASSED),
        ("FFF", (), State.NEVER_PASSED),
        ("F.", (1,), State.FIXED),
        (".F", (1,), State.NEWLY_BROKEN),
        (".FF", (1,), State.STILL_BROKEN),
        (".FF.", (1, 3), State.FIXED),
        (".F", (), State.FLAKY),
        (".F.", (), State.FLAKY),
        (".F..", (), State.UNSTABLE),
        (".FFF", (), State.NEWLY_BROKEN),  # a flaky one that turns solid is told
        (".FFFF", (), State.STILL_BROKEN),
        (".F.F", (3,), State.UNSTABLE),  # in quarantine, so a change proves nothing
        (".F" + "." * (STABLE - 1) + "F", (STABLE + 1,), State.UNSTABLE),
        (".F" + "." * STABLE, (), State.PASSING),
        (".F" + "." * STABLE + "F", (STABLE + 2,), State.NEWLY_BROKEN),
        (".!F", (2,), State.NEWLY_BROKEN),  # the lab's night says nothing
        (".F!F", (1,), State.STILL_BROKEN),
        (".-", (), State.SKIPPED),
        (".!", (), State.UNPROVED),
        ("!F", (), State.NEVER_PASSED),
        (".FF..", (1, 3), State.PASSING),  # mended by an edit: trusted at once
        (".FF..F", (1, 5), State.UNSTABLE),  # came back by itself: not trusted
    ],
)
def test_state(signs: str, changed: tuple[int, ...], state: State) -> None:
    assert _after(*_story(signs, *changed)).state is state


def test_a_crash_counts_always() -> None:
    quarantined = _story(".F.")
    assert _after(*quarantined, row(3, "fail", **CRASH)).state is State.NEWLY_BROKEN
    assert _after(row(0, "fail", **CRASH)).state is State.NEWLY_BROKEN
    again = _after(row(0), row(1, "fail", **CRASH), row(2, "fail", **CRASH))
    assert again.state is State.STILL_BROKEN
    other = _after(row(0), row(1, "fail", **CRASH), row(2, "fail", crash=True, fingerprint="hang:other"))
    assert other.state is State.NEWLY_BROKEN


def test_a_second_try_that_passes_is_a_flake_and_one_that_fails_is_evidence() -> None:
    assert _after(row(0), row(1, "fail", digest="b", again="pass")).state is State.FLAKY
    assert _after(row(0), row(1, "fail", digest="b", again="fail")).state is State.NEWLY_BROKEN
    twice = [row(0), row(1, "fail", again="fail")]
    assert _after(*twice).state is State.FLAKY
    assert _after(*twice, row(2, "fail")).state is State.NEWLY_BROKEN


def test_blocked_is_not_what_the_catalog_skips() -> None:
    assert _after(row(0, "skip", lab="")).state is State.SKIPPED
    blocked = Row("20260101T020000Z", "6.12-x86_64", "ioctl", "skip", reason="needs chardev, which failed at build")
    assert after(None, blocked).state is State.BLOCKED
    declared = Row("20260101T020000Z", "6.12-x86_64", "ioctl", "skip", reason="needs gpio, which this host does not offer")
    assert after(None, declared).state is State.SKIPPED


@pytest.mark.parametrize(
    ("facts", "who"),
    [
        ({"release": "6.12.2"}, Blame.KERNEL),
        ({"digest": "b" * 16}, Blame.MODULE),
        ({"release": "6.12.2", "digest": "b" * 16}, Blame.EITHER),
        ({"lab": "v2"}, Blame.LAB),
        ({}, Blame.NOTHING),
    ],
)
def test_blame(facts: dict[str, str], who: Blame) -> None:
    assert _after(row(0), row(1, "fail", **facts)).blame == who.value
    # It stays with the first failure, whatever changes after it.
    assert _after(row(0), row(1, "fail", **facts), row(2, "fail", release="6.12.9", digest="c" * 16)).blame == who.value


def _kernelci(signs: str) -> str:
    """KernelCI's categorize_test_history: all equal, one change, or unstable."""
    changes = sum(a != b for a, b in pairwise(signs))
    if "!" in signs or changes > 1:
        return "unstable"
    return "same" if not changes else "regression" if signs[-1] == "F" else "fixed"


OURS = {
    "regression": {State.NEWLY_BROKEN, State.STILL_BROKEN},
    "fixed": {State.FIXED, State.PASSING, State.UNSTABLE},
    "same": {State.FIRST_SEEN, State.PASSING, State.NEVER_PASSED},
}


@given(st.text(alphabet=".F", min_size=1, max_size=8))
def test_where_kernelci_is_sure_so_are_we(signs: str) -> None:
    """With a cause for each change; where it says unstable, we may know more, for we know what changed."""
    changed = [n for n in range(1, len(signs)) if signs[n] != signs[n - 1]]
    said = _kernelci(signs)
    if said in OURS:
        assert _after(*_story(signs, *changed)).state in OURS[said]


@given(st.integers(min_value=1, max_value=40))
def test_nipas_stability(passes: int) -> None:
    """apply_stability: who failed is heard again only after more than fifteen passes; ours is heard from the fifteenth on."""
    told = _after(*_story(".F" + "." * passes + "F", passes + 2)).state is State.NEWLY_BROKEN
    assert told is (passes >= STABLE)


Night = tuple[str, bool, bool, bool, str]
NIGHT = st.tuples(
    st.sampled_from(["pass", "pass", "fail", "fail", "error", "skip"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["", "", "pass", "fail"]),
)


def _rows(nights: list[Night]) -> list[Row]:
    rows, release, digest = [], 0, 0
    for n, (verdict, kernel, module, crash, again) in enumerate(nights):
        release, digest = release + kernel, digest + module
        facts = {"crash": crash, "fingerprint": "x", "again": again} if verdict == "fail" else {}
        rows.append(row(n, verdict, release=str(release), digest=str(digest), **facts))
    return rows


def _slow(rows: list[Row]) -> State:
    """The same rules, by looking back at everything each time, and in no hurry."""
    newest, sure = rows[-1], [each for each in rows if each.verdict in ("pass", "fail")]
    if newest.verdict == "skip":
        return State.SKIPPED
    if newest.verdict == "error":
        return State.UNPROVED
    streak: list[Row] = []
    for each in reversed(sure):
        if each.verdict != newest.verdict:
            break
        streak.insert(0, each)
    before = sure[: len(sure) - len(streak)]
    passed = [each for each in sure if each.verdict == "pass"]
    if newest.verdict == "pass":
        if len(sure) == 1:
            return State.FIRST_SEEN
        if len(streak) == 1:
            earlier_passed = any(each.verdict == "pass" for each in before)
            return State.FIXED if _told(before) or not earlier_passed else State.FLAKY
        return State.UNSTABLE if _quarantined(sure) else State.PASSING
    if newest.crash and not any(each.crash for each in streak[:-1]):
        return State.NEWLY_BROKEN
    if _told(sure[:-1]):
        return State.STILL_BROKEN
    if not passed:
        return State.NEVER_PASSED
    caused = _caused(before[-1], streak[0])
    free = not _quarantined(sure[:-1])
    tries = sum(1 + (each.again == "fail") for each in streak)
    if newest.again != "pass" and (tries >= SOLID or (len(streak) == 1 and caused and free)):
        return State.NEWLY_BROKEN
    return State.UNSTABLE if caused and not free and newest.again != "pass" else State.FLAKY


def _caused(one: Row, other: Row) -> bool:
    return (one.release, one.digest) != (other.release, other.digest)


def _told(sure: list[Row]) -> bool:
    """Whether any of the failures at the end was told as new."""
    if not sure or sure[-1].verdict != "fail":
        return False
    return _slow(sure) is State.NEWLY_BROKEN or _told(sure[:-1])


def _quarantined(sure: list[Row]) -> bool:
    """Whether it flipped without a cause, and has not passed so often since."""
    for end in range(len(sure), 0, -1):
        if [each.verdict for each in sure[max(0, end - STABLE) : end]] == ["pass"] * STABLE:
            return False
        last, before = sure[end - 1], sure[end - 2] if end > 1 else None
        if last.verdict == "fail" and _slow(sure[:end]) is State.FLAKY:
            return True
        mended = before and last.verdict == "pass" and before.verdict == "fail"
        if before and mended and (_slow(sure[:end]) is State.FLAKY or not _caused(before, last)):
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(st.lists(NIGHT, min_size=1, max_size=22))
def test_as_the_slow_reference_says(nights: list[Night]) -> None:
    rows = _rows(nights)
    assert _after(*rows).state is _slow(rows)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(NIGHT, min_size=1, max_size=6), st.integers(min_value=STABLE - 3, max_value=STABLE + 1), st.lists(NIGHT, max_size=4)
)
def test_as_the_slow_reference_says_after_long_quiet(begin: list[Night], quiet: int, end: list[Night]) -> None:
    rows = _rows([*begin, *[("pass", False, False, False, "")] * quiet, *end])
    assert _after(*rows).state is _slow(rows)


@pytest.mark.parametrize("seed", range(20))
def test_sixty_nights(seed: int) -> None:
    """Twelve breaks are told on their first night, and none of twenty flakes is."""
    story, planted = replay(seed)
    cells: Cells = {}
    told: dict[tuple[str, str], list[int]] = {}
    for n, rows in enumerate(story):
        cells = fold(cells, rows)
        for cell, memory in cells.items():
            if memory.state is State.NEWLY_BROKEN:
                told.setdefault(cell, []).append(n)
    assert {cell: nights for cell, nights in told.items() if cell in planted} == {cell: [n] for cell, n in planted.items()}
    assert len([n for cell, nights in told.items() if cell not in planted for n in nights]) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_sixty_nights_without_second_tries(seed: int) -> None:
    """Where nobody tries again, every break is told, and of the flakes only those that fall on the night of a change."""
    story, planted = replay(seed)
    cells: Cells = {}
    false = 0
    for n, rows in enumerate(story):
        before, single = cells, [_without(each) for each in rows]
        cells = fold(cells, single)
        for each in single:
            if cells[each.cell].state is State.NEWLY_BROKEN:
                passed = before[each.cell].passed
                assert passed and _caused(row(n, release=passed.release, digest=passed.digest), each)
                false += each.cell not in planted
        for cell, at in planted.items():
            assert n != at or cells[cell].state is State.NEWLY_BROKEN
    assert false <= 8


def _without(each: Row) -> Row:
    return Row(each.run, each.kernel, each.module, each.verdict, each.stage, each.release, each.digest, each.lab, each.reason)
