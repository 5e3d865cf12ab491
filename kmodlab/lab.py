"""One run of the lab: which modules of which folder on which kernels, and where everything of it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from kmodlab import build, keys, progress, results
from kmodlab.board import INVENTORY as BOARDS
from kmodlab.board import Board, BoardTarget, ResolvedBoard, ask_boards, load_boards
from kmodlab.cache import REPOSITORY, digest, write_aside
from kmodlab.catalog import Module, load_catalog, skips, with_needs
from kmodlab.errors import LabError
from kmodlab.firmware import ordinary
from kmodlab.images import BootImage, boot_image, build_root
from kmodlab.kernels import Kernel, Resolved, default_fleet, load_inventory, resolve, select
from kmodlab.modules import SourceModule, discover
from kmodlab.results import ModuleInfo, Planned, Run, Stage, Verdict
from kmodlab.secureboot import secure_firmware, secure_kernel, signed_image
from kmodlab.stress import LEAST_LOADS
from kmodlab.trees import Tree, copied
from kmodlab.vm import Vm, emulated_by, runtime_dir
from kmodlab.wiring import Wiring

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
    build_limit: float = build.BUILDING.seconds
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
        return {module.name: module for module in _entries(self.order.tree, self.sources)}

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
                progress.emit(self.run.folder, kernel, "build", "fail", module=module.name, text=problem)
            else:
                found.append(module)
        return found

    def alive(self, kernel: str, before: Stage) -> list[Module]:
        """Those of them that passed every stage before `before`, and whose needs did."""
        verdicts = self.run.verdicts(kernel)
        earlier = list(Stage)[: list(Stage).index(before)]
        good: dict[str, Module] = {}
        for module in self.modules(kernel):
            passed = all(verdicts[module.name].get(stage) is Verdict.PASS for stage in earlier)
            if passed and all(need in good for need in module.needs):
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


def plan(
    reports: Path,
    words: Iterable[str],
    folder: Path,
    only: Iterable[str],
    *,
    refresh: bool = False,
    secureboot: bool = False,
    quick: bool = False,
    boards: Path = BOARDS,
    stress: int = 0,
    build_limit: float = build.BUILDING.seconds,
    group: str = "fleet",
) -> Lab:
    """Start a run: read the inventories and the catalog, resolve the kernels, write down every cell that is owed.

    LabError for anything that is misused; a kernel that cannot be resolved costs its own cells only.
    """
    inventory = load_inventory()
    if 0 < stress < LEAST_LOADS:
        raise LabError(f"STRESS={stress}: so few loads tell no loss from noise; ask for {LEAST_LOADS} or more")
    words, known = list(words), load_boards(boards)
    kernels = select(words, inventory, fleet(inventory, secureboot=secureboot, group=group), known)
    chosen = [known[name] for name in dict.fromkeys(name for word in words for name in word.split()) if name in known]
    if secureboot and chosen:
        raise LabError(f"board {chosen[0].id}: SECUREBOOT=1 is for the lab's own machines; leave it out of KERNELS")
    for kernel in kernels:
        emulated_by(kernel)
        if secureboot:
            secure_kernel(kernel)
    tree = copied(folder)
    sources = {module.name: module for module in discover(tree)}
    entries = _entries(tree, sources)
    wanted = with_needs(only, entries) if (only := [name for word in only for name in word.split()]) else entries
    found = {**resolve(kernels, refresh=refresh), **ask_boards(chosen, boards)}
    problems = [str(each) for each in found.values() if isinstance(each, LabError)]
    if len(problems) == len(found):
        raise LabError(problems[0])
    run = Run.create(reports)
    order = Order(
        tree=tree,
        modules=list(sources.values()),
        only=only,
        kernels={key: each for key, each in found.items() if isinstance(each, Resolved)},
        boards={key: each for key, each in found.items() if isinstance(each, ResolvedBoard)},
        secureboot=secureboot,
        quick=quick,
        stress=stress,
        build_limit=build_limit,
    )
    write_aside(run.folder / FILE, order.model_dump_json(indent=1))
    hosts: list[Kernel | Board] = [*kernels, *chosen]
    run.plan(
        [_row(each, found[each.id]) for each in hosts],
        [_module_info(sources[entry.name], entry, tree) for entry in wanted],
        [cell for each in hosts for cell in _cells(each, found[each.id], wanted, quick)],
    )
    for name, problem in found.items():
        if isinstance(problem, LabError):
            run.break_kernel(name, Stage.BUILD, str(problem))
    return Lab(run, order)


Found = Resolved | ResolvedBoard | LabError


def fleet(inventory: dict[str, Kernel], *, secureboot: bool, group: str = "fleet") -> list[str]:
    """The kernels of a run for which none are named; with Secure Boot, those whose machines have a UEFI firmware."""
    return [name for name in default_fleet(group=group) if not secureboot or inventory[name].vm_firmware == "ovmf"]


def _entries(tree: Tree, sources: dict[str, SourceModule]) -> list[Module]:
    return load_catalog(tree.folder, tree.origin).for_modules(sources, tree.folder)


def _row(host: Kernel | Board, found: Found) -> results.Kernel:
    """A kernel as the results begin with it."""
    if isinstance(host, Kernel):
        release = found.release if isinstance(found, Resolved) else ""
        return results.Kernel(id=host.id, release=release, arch=host.kernel_arch, distribution=host.distribution, host=host.id)
    known = {"release": found.release, "distribution": found.distribution} if isinstance(found, ResolvedBoard) else {}
    return results.Kernel(id=host.id, arch=host.board_arch, host=host.host, accel="hardware", **known)


def _cells(host: Kernel | Board, found: Found, modules: list[Module], quick: bool) -> list[Planned]:
    stages = [stage for stage in Stage if not (quick and stage is Stage.BEHAVIOUR)]
    if isinstance(host, Kernel):
        line, arch = host.kernel_line, host.kernel_arch
    elif isinstance(found, ResolvedBoard):
        line, arch = found.line, host.board_arch
    else:  # a board that is not there: what its kernel cannot do is not known
        return [Planned(kernel=host.id, module=module.name, stages=stages) for module in modules]
    skipped = skips(modules, line, arch, host.offers)
    return [
        Planned(
            kernel=host.id,
            module=module.name,
            stages=stages,
            skip=skipped.get(module.name, ""),
            expect=module.expectation(line, arch),
        )
        for module in modules
    ]


def _module_info(source: SourceModule, entry: Module, tree: Tree) -> ModuleInfo:
    path = (tree.origin / (entry.source[0] if entry.source else source.name)).resolve()
    shown = path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path
    sha = digest(*source.sources(), length=64) if source.sources() else ""
    return ModuleInfo(name=source.name, source=str(shown), sha256=sha)
