"""A column of the matrix: one kernel, its machine and its cells. Whether that is a VM or a board, only a column knows."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmodlab.build.needs import in_loading_order, own_needs
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.files import write_aside
from kmodlab.guest.shell import Guest
from kmodlab.judge.classifier import Frame
from kmodlab.machine.target import Target
from kmodlab.plan.catalog import Module, with_needs
from kmodlab.plan.wiring import SIMULATOR_SOURCES, Wiring
from kmodlab.results import events
from kmodlab.results.contract import Check, Finding, Stage, Verdict
from kmodlab.results.folder import Run
from kmodlab.run.deploy import PARTS, deploy
from kmodlab.run.order import Order

NEEDS = "needs.json"
"""In a kernel's folder the file of what each module needs of its tree."""
SIMULATOR = REPOSITORY / SIMULATOR_SOURCES
"""The module by which the lab gives a machine GPIO lines that it has not."""


KEPT = "kept"
"""In a kernel's folder the file that says as which module's its machine is kept; in the run's, the folders of such machines."""


@dataclass(frozen=True)
class Column(ABC):
    """One kernel of a run, and what each stage of the run does with it.

    The stages' methods record what they find out about every cell; they return True where they changed anything, and raise
    LabError where the lab itself cannot go on.
    """

    run: Run
    order: Order
    kernel: str
    """Its id."""

    @property
    @abstractmethod
    def release(self) -> str:
        """The kernel's exact release, as `uname -r` says it."""

    @property
    @abstractmethod
    def remark(self) -> str:
        """What a person should know of it before the run begins; often nothing."""

    @property
    @abstractmethod
    def wiring(self) -> Wiring | None:
        """Where buttons and an LED are on its machine."""

    @property
    @abstractmethod
    def key_known(self) -> bool:
        """Whether the kernel can know the lab's key, so that it must accept the lab's signatures."""

    @property
    def checks(self) -> bool:
        """Whether its kernel is to check its memory: it must be booted for that."""
        return False

    @property
    def counts_lines(self) -> bool:
        """Whether its modules count how often each of their lines runs: they must be built for that."""
        return False

    def lines_reached(self, module: str, needs: Sequence[str], counts: Mapping[str, bytes]) -> str:
        """What a module's counts say, "45 of 50; not chardev.c:87-89"; they are kept for the run's pages, and those of the
        modules that it needs with them. LabError where they say nothing.
        """
        raise NotImplementedError

    @property
    @abstractmethod
    def target(self) -> Target:
        """What the kernel runs on, whether it runs or not."""

    @abstractmethod
    def prepare(self) -> bool:
        """Have what is needed to build for the kernel and to boot it."""

    @abstractmethod
    def build(self) -> bool:
        """Build each module, for its own verdict."""

    @abstractmethod
    def sign(self) -> bool:
        """Sign what was built with the lab's key."""

    def source_lines(self, module: str, frames: Sequence[Frame]) -> dict[Frame, str]:
        """The lines of C of functions of a module, `chardev.c:87`, as far as its debug information is here and tells."""
        return {}

    @property
    @abstractmethod
    def machine(self) -> Path:
        """The folder of its machine's sockets and state."""

    @property
    def kept(self) -> str:
        """The module as which its machine was left, for a person to look at; mostly none."""
        mark = self.folder / KEPT
        return mark.read_text() if mark.exists() else ""

    def keep(self, module: str) -> None:
        """Leave the machine as it is now, when that module has failed there: no stage stops or restores it."""
        write_aside(self.folder / KEPT, module)
        with (self.run.folder / KEPT).open("a") as kept:
            kept.write(f"{self.machine}\n")

    @abstractmethod
    def leave(self) -> None:
        """When the run ends, however it does: nothing of it goes on on the machine."""

    def boot(self) -> bool:
        """Bring the machine up."""
        ran = self.target.state is not None
        self.run.note_kernel(self.kernel, accel=self.target.fresh().accel)
        return not ran

    def deploy(self) -> bool:
        """Put what was signed onto the machine; always a change, because what is there goes with its next boot."""
        self.deploy_to(self.target.guest())
        for entry in self.alive(Stage.DEPLOY):
            self.record(entry.name, Stage.DEPLOY, Verdict.PASS)
        return True

    def deploy_to(self, guest: Guest) -> None:
        """Put the signed modules and the programs onto the machine's system. LabError."""
        deploy(self.folder, self.kernel, guest)

    def stop(self) -> bool:
        """Stop the machine, unless it is kept."""
        if self.kept:
            return False
        target = self.target
        ran = target.state is not None
        target.stop()
        return ran

    @property
    def folder(self) -> Path:
        """The kernel's things in this run: a folder for each of `PARTS`, and links to its images."""
        return self.run.folder / "artefacts" / self.kernel

    def make_folders(self) -> None:
        """Make the folder of each of `PARTS`."""
        for part in PARTS:
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    def ko(self, name: str) -> Path:
        """A module's file: as it was built, and signed in place then."""
        return self.folder / "modules" / f"{name}.ko"

    def debug(self, name: str) -> Path:
        """The same file with its debug information, as it was built; not there where there is none."""
        return self.ko(name).with_suffix(".debug")

    @property
    def lab_modules(self) -> list[Path]:
        """The lab's own modules for this kernel."""
        return sorted((self.folder / "lab-modules").glob("*.ko"))

    @property
    def simulated(self) -> bool:
        """Whether its GPIO chip is a module of the lab's own."""
        return self.wiring is not None and self.wiring.provider == "simulated"

    @property
    def console(self) -> Path:
        """The file of what the machine's console says."""
        return self.log("console.log")

    def log(self, name: str) -> Path:
        """A file among the kernel's logs of this run."""
        path = self.run.folder / "logs" / self.kernel / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def modules(self) -> list[Module]:
        """The modules planned for the kernel and not skipped there, needs first."""
        planned = {cell.module for cell in self.run.planned.cells if cell.kernel == self.kernel and not cell.skip}
        every = [entry for name, entry in self.order.catalog.items() if name in planned]
        if not (sooner := planned & set(self.order.first.get(self.kernel, ()))):
            return every
        first = with_needs(sorted(sooner), every)
        return [*first, *(entry for entry in every if entry not in first)]

    def buildable(self) -> list[Module]:
        """Those of them that can be built at all; what is known against the others is recorded."""
        found = []
        for module in self.modules:
            if problem := self.order.sources[module.name].problem:
                self.built(module.name, problem)
            else:
                found.append(module)
        return found

    def needs(self, name: str) -> list[Module]:
        """What a module needs of its tree, in loading order: as the catalog says, and as its file does once it is built."""
        found: dict[str, list[str]] = json.loads(path.read_text()) if (path := self.folder / NEEDS).exists() else {}
        catalog = self.order.catalog
        return [catalog[need] for need in in_loading_order(name, lambda each: found.get(each, catalog[each].needs))]

    def find_needs(self) -> None:
        """When modules are built: keep what each needs of its tree."""
        catalog = self.order.catalog
        built = [name for name in catalog if self.ko(name).exists()]
        found = {name: list(dict.fromkeys([*catalog[name].needs, *own_needs(self.ko(name), catalog)])) for name in built}
        write_aside(self.folder / NEEDS, json.dumps(found))

    @property
    def beside(self) -> list[str]:
        """The modules that are built for the kernel because others need them, and that have no cell of their own."""
        planned = {cell.module for cell in self.run.planned.cells if cell.kernel == self.kernel}
        return [name for name in self.order.catalog if name not in planned and self.ko(name).exists()]

    def alive(self, before: Stage) -> list[Module]:
        """Those of them that passed every stage before `before`, and whose needs did. Who is blocked by one is recorded so."""
        verdicts = self.run.verdicts(self.kernel)
        earlier = list(Stage)[: list(Stage).index(before)]
        passed = [each for each in self.modules if all(verdicts[each.name].get(stage) is Verdict.PASS for stage in earlier)]
        there = {*(module.name for module in passed), *self.beside}
        good = []
        for module in passed:
            lacking = next((need.name for need in self.needs(module.name) if need.name not in there), "")
            if lacking:
                self.record(module.name, before, Verdict.SKIP, f"needs {lacking}{self._fate(verdicts.get(lacking), lacking)}")
            else:
                good.append(module)
        return good

    def _fate(self, verdicts: Mapping[Stage, Verdict] | None, name: str) -> str:
        """What has become of a module that another needs, and that is not there."""
        skipped = (cell.skip for cell in self.run.planned.cells if (cell.kernel, cell.module) == (self.kernel, name))
        if why := next(skipped, ""):
            return f": {why}"
        if verdicts is None:  # it has no cell
            return f", which failed at {Stage.BUILD}"
        ended = next(((stage, verdict) for stage, verdict in verdicts.items() if verdict is not Verdict.PASS), None)
        words = {Verdict.FAIL: "failed at", Verdict.SKIP: "was skipped at", Verdict.ERROR: "the lab could not bring through"}
        return f", which {words[ended[1]]} {ended[0]}" if ended else ", which the lab lost"

    def may_fail(self, module: str) -> bool:
        """Whether the catalog expects a module's cell to fail."""
        return any(each.expect for each in self.run.planned.cells if (each.kernel, each.module) == (self.kernel, module))

    def record(
        self,
        module: str,
        stage: Stage,
        verdict: Verdict,
        reason: str = "",
        *,
        seconds: float = 0.0,
        checks: Sequence[Check] = (),
        findings: Sequence[Finding] = (),
        log_text: str = "",
    ) -> None:
        """Write down what a stage found out of a cell."""
        self.run.record(
            self.kernel,
            module,
            stage,
            verdict,
            reason,
            seconds=seconds,
            checks=checks,
            findings=findings,
            log_text=log_text,
        )

    def built(
        self,
        module: str,
        problem: str,
        *,
        seconds: float = 0.0,
        warnings: Sequence[str] = (),
        log: str = "",
        left_out: bool = False,
    ) -> None:
        """Write down and tell how a module's build ended; `problem` is empty where it was built, and says why it need not be
        where it is `left_out`.
        """
        verdict = Verdict.SKIP if left_out else Verdict.FAIL if problem else Verdict.PASS
        checks = [Check(name="compiler warning", verdict=Verdict.PASS, reason=line) for line in warnings]
        self.record(module, Stage.BUILD, verdict, problem, seconds=seconds, checks=checks, log_text=log)
        self.tell("build", "fail" if problem else "done", module, problem)

    def tell(self, stage: str, state: events.State, module: str = "", text: str = "") -> None:
        """Tell those who watch the run."""
        events.emit(self.run.folder, self.kernel, stage, state, module=module, text=text)
