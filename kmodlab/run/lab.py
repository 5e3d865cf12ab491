"""One run of the lab: which modules of which folder on which kernels, and where everything of it is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from kmodlab.build import kbuild
from kmodlab.build.modules import SourceModule
from kmodlab.build.trees import Tree
from kmodlab.debian.archive import Resolved
from kmodlab.debian.roots import BootImage, boot_image, build_root
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.machine.board import BoardTarget
from kmodlab.machine.firmware import ordinary
from kmodlab.machine.runtime import runtime_dir
from kmodlab.machine.secureboot import secure_firmware, secure_kernel, signed_image
from kmodlab.machine.vm import Vm
from kmodlab.plan.boards import ResolvedBoard
from kmodlab.plan.catalog import Module, load_catalog
from kmodlab.plan.wiring import Wiring
from kmodlab.results import events
from kmodlab.results.contract import Stage, Verdict
from kmodlab.results.folder import Run
from kmodlab.sign import keys

FILE = "lab.json"


class Order(BaseModel):
    """What was asked for, with the kernels' exact versions; kept as lab.json in the run folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tree: Tree
    """The folder of the modules, as it was when the run was planned: nothing reads it again."""
    modules: list[SourceModule]
    """What its Makefiles build."""
    only: list[str]
    kernels: dict[str, Resolved]
    """Those that the lab boots itself."""
    boards: dict[str, ResolvedBoard] = {}
    """Real machines, each with the kernel that runs on it."""
    secureboot: bool = False
    """Run every kernel on a machine with Secure Boot, where it refuses what is not signed."""
    quick: bool = False
    """Life cycles only, no behaviour tests."""
    build_limit: float = kbuild.BUILDING.seconds
    """Seconds that one build may take."""
    stress: int = 0
    """How often each module is loaded beside its tests, to see what it leaves behind each time."""


@dataclass(frozen=True)
class Lab:
    """A run and its order. Each stage, a process of its own, opens it anew from the run folder."""

    run: Run
    order: Order

    @classmethod
    def open(cls, folder: Path) -> Lab:
        """The lab of a run folder."""
        run = Run.open(folder)
        path = run.folder / FILE
        if not path.is_file():
            raise LabError(f"run {run.id} has no {FILE}: it was stopped before it was planned; start another with `make matrix`")
        return cls(run, Order.model_validate_json(path.read_text()))

    @cached_property
    def sources(self) -> dict[str, SourceModule]:
        """What the folder's Makefiles build, by name."""
        return {module.name: module for module in self.order.modules}

    @cached_property
    def catalog(self) -> dict[str, Module]:
        """The catalog's entries of all modules of the folder, by name."""
        return {module.name: module for module in entries(self.order.tree, self.sources)}

    def resolved(self, kernel: str) -> Resolved:
        """A kernel of this run that the lab boots itself."""
        return self.order.kernels[kernel]

    def wiring(self, kernel: str) -> Wiring | None:
        """Where buttons and an LED are on a kernel's machine."""
        board = self.order.boards.get(kernel)
        return board.board.board_gpio if board else self.resolved(kernel).kernel.vm_gpio

    def release(self, kernel: str) -> str:
        """A kernel's exact release."""
        board = self.order.boards.get(kernel)
        return board.release if board else self.resolved(kernel).release

    @cached_property
    def _certificate(self) -> Path:
        """That of the signing key. Checking a key takes a tenth of a second."""
        return keys.chosen_key().certificate

    def key_known(self, kernel: str) -> bool:
        """Whether a kernel can know the lab's key, so that it must accept the lab's signatures."""
        if kernel in self.order.boards:
            return False
        return self.order.secureboot or self.resolved(kernel).kernel.vm_firmware == "ovmf"

    def modules(self, kernel: str) -> list[Module]:
        """The modules planned for a kernel and not skipped there, needs first."""
        planned = {cell.module for cell in self.run.planned.cells if cell.kernel == kernel and not cell.skip}
        return [self.catalog[name] for name in self.catalog if name in planned]

    def buildable(self, kernel: str) -> list[Module]:
        """Those of them that can be built at all; what is known against the others is recorded."""
        found = []
        for module in self.modules(kernel):
            if problem := self.sources[module.name].problem:
                self.run.record(kernel, module.name, Stage.BUILD, Verdict.FAIL, problem)
                events.emit(self.run.folder, kernel, "build", "fail", module=module.name, text=problem)
            else:
                found.append(module)
        return found

    def alive(self, kernel: str, before: Stage) -> list[Module]:
        """Those of them that passed every stage before `before`, and whose needs did. Who is blocked by one is recorded so."""
        verdicts = self.run.verdicts(kernel)
        earlier = list(Stage)[: list(Stage).index(before)]
        good: dict[str, Module] = {}
        for module in self.modules(kernel):
            lacking = next((need for need in module.needs if need not in good), "")
            if not all(verdicts[module.name].get(stage) is Verdict.PASS for stage in earlier):
                continue
            if lacking:
                self.run.record(kernel, module.name, before, Verdict.SKIP, f"needs {lacking}, which {_fate(verdicts[lacking])}")
            else:
                good[module.name] = module
        return list(good.values())

    def artefacts(self, kernel: str) -> Path:
        """A kernel's things in this run: modules/ and programs/, and links to its images, build and boot."""
        return self.run.folder / "artefacts" / kernel

    def use_images(self, kernel: str) -> None:
        """Make a kernel's images, or find them, and keep for this run which ones they are."""
        folder, resolved = self.artefacts(kernel), self.resolved(kernel)
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in (("build", build_root(resolved).parent), ("boot", boot_image(resolved).folder)):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(image)

    def image(self, kernel: str, kind: Literal["build", "boot"]) -> Path:
        """The folder of an image that the images stage has found; its name is its content key."""
        link = self.artefacts(kernel) / kind
        if not link.exists():
            raise LabError(f"run {self.run.id} has no {kind} image of {kernel}: run playbooks/images.yml first")
        return link.resolve()

    def build_root(self, kernel: str) -> Path:
        """The root in which a kernel's modules are built and signed."""
        return self.image(kernel, "build") / "root"

    def write_inventory(self) -> Path:
        """An Ansible inventory of this run's kernels in its folder, with which each stage's playbook can be run alone.

        The slowest is the first to begin: at the end of the run others would not be there to use the processors that it leaves.
        """
        variables = {
            "kmodlab_run": str(self.run.folder),
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
        }
        kernels = sorted(self.order.kernels, key=lambda kernel: -self.order.kernels[kernel].kernel.vm_patience)
        tree = {"run": {"vars": variables, "hosts": {host: {} for host in (*kernels, *self.order.boards)}}}
        path = self.run.folder / "inventory.yml"
        write_aside(path, yaml.safe_dump(tree, sort_keys=False))
        return path

    def target(self, kernel: str) -> Vm | BoardTarget:
        """What a kernel runs on, whether it runs or not."""
        board = self.order.boards.get(kernel)
        return BoardTarget(board.board, self._console(kernel), board.release) if board else self.vm(kernel)

    def stop_boards(self) -> None:
        """Leave every board of the run alone."""
        for kernel in self.order.boards:
            self.target(kernel).stop()

    def _console(self, kernel: str) -> Path:
        console = self.run.folder / "logs" / kernel / "console.log"
        console.parent.mkdir(parents=True, exist_ok=True)
        return console

    def vm(self, kernel: str) -> Vm:
        """A kernel's VM, running or not."""
        resolved = self.resolved(kernel)
        console = self._console(kernel)
        certificate = self._certificate
        folder, image = runtime_dir() / self.run.id / kernel, BootImage(self.image(kernel, "boot"))
        if self.order.secureboot:
            firmware = secure_firmware(resolved.kernel, [certificate])
            return Vm(secure_kernel(resolved.kernel), signed_image(image), folder, console, firmware)
        return Vm(resolved.kernel, image, folder, console, ordinary(resolved.kernel, certificate))


def _fate(verdicts: Mapping[Stage, Verdict]) -> str:
    """What has become of a module that another needs, and that is not there."""
    ended = next(((stage, verdict) for stage, verdict in verdicts.items() if verdict is not Verdict.PASS), None)
    if not ended:
        return "the lab lost"
    words = {Verdict.FAIL: "failed at", Verdict.SKIP: "was skipped at", Verdict.ERROR: "the lab could not bring through"}
    return f"{words[ended[1]]} {ended[0]}"


def entries(tree: Tree, sources: dict[str, SourceModule]) -> list[Module]:
    """The catalog's entries of a folder's modules, needs first."""
    return load_catalog(tree.folder, tree.origin).for_modules(sources, tree.folder)
