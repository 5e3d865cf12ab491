"""Load and unload a module very often, on all processors at once, and see that the kernel gets back all it gave.

Memory is measured after each batch of loads, and only growth in most batches counts: what the kernel keeps for itself, or
gives back late, comes in steps. One object of a slab cache or one area of vmalloc that is lost with each load is found. What grew
is tried once more: what something else on the machine did meanwhile (seen once with 64 modules) does not come again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from statistics import median

from pydantic import TypeAdapter, ValidationError

from kmodlab.guest.shell import AGENTS, GuestLostError
from kmodlab.results.contract import Check, Stage, Verdict
from kmodlab.verify.module import ModuleUnderTest, StageError, kernel_words

BATCHES = 10
"""So often memory is measured. The first batch only warms caches up."""
LEAST_LOADS = 10 * BATCHES
"""With fewer, what a module loses is not told from what else a machine does: with one a batch, 23 skbuff heads came once."""
LOAD_LIMIT = 4.0
"""Seconds for one load and unload of many, on average, where the catalog gives the module no longer limit."""
MEASURE_LIMIT = 60.0
"""Seconds more for a batch, however small: the agent starts, and takes stock."""
PER_LOAD = 0.5
"""What grows by at least this with each load grows with the loads."""
_MEASURED = TypeAdapter(dict[str, int])
AGENT = AGENTS / "stress.py"


@dataclass
class Stress:
    """So many loads of a module; the checks it made are in `checks`, by stage."""

    module: ModuleUnderTest
    loads: int
    cpus: int
    """How many processors load it at once, each trying to be the next."""
    checks: dict[Stage, list[Check]] = field(default_factory=dict)

    def run(self) -> None:
        """Load and unload it. StageError where that fails, or where memory grew with each load."""
        size = max(1, -(-self.loads // BATCHES))
        self.module.guest.sh(self.module.prepare(), timeout=self.module.entry.limit)
        found = self._grown(size)
        if found:
            again = self._grown(size)
            found = {name: reason for name, reason in again.items() if name in found}
        name = f"{size * BATCHES} loads, no growth"
        if found:
            reason = f"with each load there is more: {'; '.join(list(found.values())[:3])}"
            self.checks.setdefault(Stage.UNLOAD, []).append(Check(name=name, verdict=Verdict.FAIL, reason=reason))
            raise StageError(Stage.UNLOAD, reason)
        self.checks.setdefault(Stage.UNLOAD, []).append(Check(name=name, verdict=Verdict.PASS))

    def _grown(self, size: int) -> dict[str, str]:
        return growth([self._batch(size) for _ in range(BATCHES)], size)

    def _batch(self, loads: int) -> dict[str, int]:
        module = self.module
        job = {
            "path": module.ko,
            "name": module.kname,
            "parameters": " ".join(kernel_words(module.entry.parameters)),
            "loads": loads,
            "cpus": self.cpus,
        }
        limit = MEASURE_LIMIT + loads * max(LOAD_LIMIT, module.entry.limit / 10)
        answer = module.guest.python(AGENT.read_text(), stdin=json.dumps(job), check=False, timeout=limit)
        if answer.rc:
            raise StageError(Stage.LOAD, f"one load of many failed: {(answer.stderr.strip().splitlines() or ['no word'])[-1]}")
        try:
            return _MEASURED.validate_json(answer.stdout)
        except ValidationError as problem:
            raise GuestLostError("the guest's answer cannot be read: to its count of memory") from problem


def growth(measures: Sequence[Mapping[str, int]], loads: int) -> dict[str, str]:
    """What grew with the loads, the strongest first, by name, of measures that were taken after every `loads` of them."""
    found = []
    for name in set().union(*measures):
        values = [each.get(name, 0) for each in measures]
        if (rate := _slope(values) / loads) >= PER_LOAD:
            found.append((rate, name, f"{name} +{rate:.1f} (from {values[0]} to {values[-1]})"))
    return {name: reason for _, name, reason in sorted(found, reverse=True)}


def _slope(values: Sequence[int]) -> float:
    """How much is added from one value to the next. Neither one great step nor what comes and goes is any."""
    steps = [after - before for before, after in pairwise(values)]
    slopes = [(values[b] - values[a]) / (b - a) for a, b in combinations(range(len(values)), 2)]
    return min(median(steps), median(slopes))
