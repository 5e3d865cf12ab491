"""Have each allocation of a module's load fail once: it must refuse cleanly or do without, and leave nothing behind.

The first, the second, the third ... fails, until a load has no more of them. Kernels with CONFIG_FAILSLAB and
CONFIG_FAULT_INJECTION_STACKTRACE_FILTER can do that; others say that they cannot.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, ValidationError

from kmodlab.build.needs import kernel_name
from kmodlab.guest.shell import AGENTS, GuestLostError, Look, Session
from kmodlab.judge.classifier import Frame, frames_of
from kmodlab.results.contract import Check, Stage, Verdict
from kmodlab.verify.module import ModuleUnderTest, StageError, kernel_words, what_is_left

AGENT = AGENTS / "failing.py"
MOST = 200
"""So many of a load's allocations fail, each once; the others of a larger one are not tried, and that is said."""
START_LIMIT = 20.0
"""Seconds until the agent is ready."""
INJECTED = re.compile(r"FAULT_INJECTION: forcing a failure")
OFFERED = "[ -e /sys/kernel/debug/failslab/require-start ] && [ -e /proc/self/fail-nth ]"
NAME = "its load stands that an allocation fails"


class Outcome(BaseModel):
    """What a load was like one of whose allocations was to fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    failed: bool
    """Whether it had so many."""
    load: int
    """The error number of the load; 0 where it succeeded."""
    unload: int


@dataclass
class FailingAllocations:
    """The loads of a module in which one allocation fails; the check it made is in `checks`, by stage."""

    module: ModuleUnderTest
    where: Callable[[Frame], str]
    """The C line of a function's frame; empty where that is not known."""
    tell: Callable[[str], None]
    """Takes what a later finding's reason is to begin with."""
    checks: dict[Stage, list[Check]] = field(default_factory=dict)

    def run(self) -> None:
        """Load it so often. StageError where it does not stand that."""
        guest = self.module.guest
        if guest.sh(OFFERED, check=False).rc:
            self._note(Verdict.SKIP, "this kernel makes no allocation fail (CONFIG_FAILSLAB)")
            return
        guest.sh(self.module.prepare(), timeout=self.module.entry.limit)
        session = self._session()
        try:
            tried = self._all(session)
        finally:
            session.kill()
        self._note(Verdict.PASS, f"each of {tried} was tried" if tried < MOST else f"the first {MOST} were tried, of more")

    def _all(self, session: Session) -> int:
        """Have one fail after the other; how many there were."""
        for nth in range(1, MOST + 1):
            before, mark = self.module.guest.look_again(), self.module.guest.log.mark()
            self.tell(f"when allocation {nth} of its load fails: ")
            outcome = self._attempt(session, nth)
            place = self._place(mark)
            at = f"when allocation {nth} of its load fails{place}"
            self.tell(f"{at}: ")
            self._judge(at, outcome, before)
            if not outcome.failed:
                self.tell("")
                return nth - 1
        return MOST

    def _session(self) -> Session:
        module = self.module
        words = shlex.join([module.ko, module.kname, " ".join(kernel_words(module.entry.parameters))])
        session = module.guest.spawn(f"exec python3 -u -c {shlex.quote(AGENT.read_text())} {words}")
        session.expect("^ready$", START_LIMIT)
        return session

    def _attempt(self, session: Session, nth: int) -> Outcome:
        session.send(f"{nth}\n")
        line = session.expect("", 2 * self.module.entry.limit)
        try:
            return Outcome.model_validate_json(line)
        except ValidationError as problem:
            raise GuestLostError(f"the guest's answer cannot be read: {line[:80]!r}") from problem

    def _judge(self, at: str, outcome: Outcome, before: Look) -> None:
        """StageError where that load was not as it should be."""
        if outcome.load and not outcome.failed:
            self._fail(Stage.LOAD, f"it does not load any more: {_word(outcome.load)}; allocations of earlier loads had failed")
        if outcome.unload:
            self._fail(Stage.UNLOAD, f"{at}, it is loaded, and cannot be unloaded: {_word(outcome.unload)}")
        own = frozenset({self.module.kname, *(kernel_name(need.name) for need in self.module.needs)})
        left, _ = what_is_left(self.module.guest, before, self.module.guest.look()[1], own)
        if left:
            self._fail(Stage.UNLOAD, f"{at}: {self.module.named(str(left))}")

    def _place(self, mark: int) -> str:
        """Where the allocation is that has failed: the module's function in the kernel's report, as a C line if it is known."""
        lines = tuple(line for record in self.module.guest.log.since(mark) for line in record.text.split("\n"))
        begins = next((number for number, line in enumerate(lines) if INJECTED.search(line)), len(lines))
        frame = next((each for each in frames_of(lines[begins:]) if each.module == self.module.kname), None)
        return f" ({self.where(frame) or frame})" if frame else ""

    def _fail(self, stage: Stage, reason: str) -> None:
        self.checks.setdefault(stage, []).append(Check(name=NAME, verdict=Verdict.FAIL, reason=reason))
        raise StageError(stage, reason)

    def _note(self, verdict: Verdict, reason: str) -> None:
        self.checks.setdefault(Stage.LOAD, []).append(Check(name=NAME, verdict=verdict, reason=reason))


def _word(number: int) -> str:
    return f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
