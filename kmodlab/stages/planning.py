"""Start a run: read the inventories and the catalog, resolve the kernels, write down every cell that is owed."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

from kmodlab.build import kbuild, trees
from kmodlab.build.modules import Explore, Explored, Part, SourceModule, discover
from kmodlab.build.trees import Tree, absolute, copied, packages_in, words_of
from kmodlab.debian import dkms_package, roots
from kmodlab.debian.archive import Resolved, resolve
from kmodlab.debian.own_kernel import named_paths, own_kernel
from kmodlab.ground.cache import REPOSITORY, digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.ground.sandbox import Limits
from kmodlab.history.row import DIGITS
from kmodlab.machine import uml
from kmodlab.machine.board import ask_boards
from kmodlab.machine.secureboot import secure_kernel
from kmodlab.machine.vm import emulated_by
from kmodlab.plan.boards import Board, ResolvedBoard, load_boards
from kmodlab.plan.catalog import Module, skips, with_needs
from kmodlab.plan.kernels import Kernel, default_fleet, load_inventory, select
from kmodlab.results import contract
from kmodlab.results.contract import Mode, ModuleInfo, Revision, Stage
from kmodlab.results.folder import Plan, Planned, Run
from kmodlab.results.shard import Division, bound, costs, divide
from kmodlab.run.lab import FILE, Lab
from kmodlab.run.order import Order, catalog_of, entries
from kmodlab.stages.request import Request
from kmodlab.verify.stress import LEAST_LOADS

Found = Resolved | ResolvedBoard | LabError
GIT_LIMIT = 10
"""Seconds in which git tells kmodlab's own revision; else the results do without."""


class Host(Protocol):
    """A kernel's machine, as far as it is known: of the inventory, or what was found there."""

    @property
    def row(self) -> contract.Kernel:
        """The kernel as the results begin with it."""
        ...

    @property
    def line(self) -> str:
        """The upstream line of the kernel, "6.12"; empty where nobody knows."""
        ...

    @property
    def offers(self) -> set[str]:
        """All hardware that modules may ask for."""
        ...


@dataclass(frozen=True)
class Intent:
    """What a run would do, before anything of it is written down."""

    tree: Tree
    sources: dict[str, SourceModule]
    """What its Makefiles build, by name."""
    only: list[str]
    wanted: list[Module]
    """The modules that were asked for, and what they need."""
    hosts: list[Host]
    found: dict[str, Found]
    """What runs on each, or why that is not known, by the kernel's or board's id."""
    cells: list[Planned]


def intend(request: Request, *, build: bool = False) -> Intent:
    """Read the inventories and the catalog, resolve the kernels. LabError for all that is misused, and where none resolves.

    A tree is built to find out what its modules are where its rules do not say it; else, unless `build`, they are asked only.
    """
    manner = request.manner
    inventory = load_inventory()
    if 0 < manner.stress < LEAST_LOADS:
        raise LabError(f"STRESS={manner.stress}: so few loads tell no loss from noise", hint=f"ask for {LEAST_LOADS} or more")
    known = load_boards(request.boards)
    paths, named = named_paths(request.kernels)
    own = {each.kernel.id: each for each in (own_kernel(path, inventory) for path in paths)}
    default = [] if own else fleet(inventory, secureboot=manner.secureboot, group=request.fleet)
    selected = select([named], inventory, default, known)
    kernels = [*(each.kernel for each in own.values()), *selected]
    chosen = [known[name] for name in dict.fromkeys(named.split()) if name in known]
    if manner.secureboot and chosen:
        raise LabError(f"board {chosen[0].id}: SECUREBOOT=1 is for the lab's own machines", hint="leave it out of KERNELS")
    if manner.faults and not chosen and not any(kernel.fails_allocations for kernel in kernels):
        able = " ".join(name for name, kernel in inventory.items() if kernel.fails_allocations)
        raise LabError("FAULTS=1: none of these kernels makes allocations fail", hint=f"KERNELS may be: {able}")
    if manner.coverage and not any(kernel.counts_lines for kernel in kernels):
        able = " ".join(name for name, kernel in inventory.items() if kernel.counts_lines)
        raise LabError("COVERAGE=1: none of these kernels keeps which lines of a module ran", hint=f"KERNELS may be: {able}")
    for kernel in kernels:
        uml.insist(kernel) if kernel.uml else emulated_by(kernel)
        if manner.secureboot:
            secure_kernel(kernel)

    @cache
    def resolved() -> dict[str, Found]:
        """What runs where. Nobody is asked before it is needed: what is wrong with the modules is told first."""
        found = {**own, **resolve(selected, refresh=request.refresh), **ask_boards(chosen, request.boards)}
        problems = [str(each) for each in found.values() if isinstance(each, LabError)]
        if len(problems) == len(found):
            raise LabError(problems[0])
        if packages := packages_in(modules):
            found |= {key: dkms_package.with_tools(each, packages) for key, each in found.items() if isinstance(each, Resolved)}
        return found

    modules = request.modules
    tree = copied(_with_packages(modules, resolved().values()) if packages_in(modules) else modules)
    make = catalog_of(tree).make
    explore = _explorer(resolved, replace(kbuild.BUILDING, seconds=manner.build_limit)) if kernels and build else None
    sources = {module.name: module for module in discover(tree, explore, make)}
    every = entries(tree, sources)
    only = request.only.split()
    wanted = with_needs(only, every) if only else every
    found = resolved()
    asked: list[Host] = [*kernels, *chosen]
    hosts = [_known(each, found[each.row.id]) for each in asked]
    cells = [cell for host in hosts for cell in _cells(host, wanted, manner.quick)]
    return Intent(tree, sources, only, wanted, hosts, found, cells)


def plan(request: Request, reports: Path) -> Lab:
    """Start a run: write down every cell that is owed, in a folder of its own in `reports`.

    LabError for anything that is misused; a kernel that cannot be resolved costs its own cells only.
    """
    intent, manner = intend(request, build=True), request.manner
    found = intent.found
    infos = [_module_info(intent.sources[entry.name], entry, intent.tree) for entry in intent.wanted]
    settled = _settled(request, intent, infos)
    whole = Plan(
        kernels=[host.row for host in intent.hosts],
        modules=infos,
        cells=_still_owed(intent, settled) if request.changed else intent.cells,
        mode=Mode(**{name: getattr(manner, name) for name in Mode.model_fields if name != "only"}, only=intent.only),
        revision=Revision(kmodlab=_revision(), modules=trees.content(intent.tree.folder)),
    )
    division = _division(request, intent, whole)
    cells = division.cells if division else whole.cells
    owing, proved = {cell.kernel for cell in cells}, {cell.module for cell in cells}
    run = Run.create(reports)
    order = Order(
        tree=intent.tree,
        modules=list(intent.sources.values()),
        only=intent.only,
        kernels={key: each for key, each in found.items() if isinstance(each, Resolved) and key in owing},
        boards={key: each for key, each in found.items() if isinstance(each, ResolvedBoard) and key in owing},
        manner=manner,
        asked=absolute(request.modules),
        boards_from=request.boards.absolute(),
        first=_first(cells, settled) if request.settled else {},
        throwaway_key=request.throwaway_key,
    )
    write_aside(run.folder / FILE, order.model_dump_json(indent=1))
    if division:
        division.write(run.folder)
    run.plan(
        [kernel for kernel in whole.kernels if not division or kernel.id in owing],
        [info for info in infos if not division or info.name in proved],
        cells,
        mode=whole.mode,
        revision=whole.revision,
    )
    for name, problem in found.items():
        if isinstance(problem, LabError) and (not division or name in owing):
            run.break_kernel(name, Stage.BUILD, str(problem))
    return Lab(run, order)


def _division(request: Request, intent: Intent, whole: Plan) -> Division | None:
    """Who proves what, where the run is a shard. What needs one another stays together, and a board is at one machine."""
    if not request.shard:
        return None
    columns: dict[str, list[list[str]]] = {}
    for kernel in whole.kernels:
        names = [cell.module for cell in whole.cells if cell.kernel == kernel.id]
        columns[kernel.id] = bound(names, {entry.name: entry.needs for entry in intent.wanted})
    uncut = {host.row.id for host in intent.hosts if isinstance(host, Board | ResolvedBoard)}
    owners = divide(columns, request.shard.of, costs(whole.cells, request.measured), uncut)
    return Division(
        number=request.shard.number,
        of=request.shard.of,
        balanced_by=request.measured.run if request.measured else "",
        whole=whole,
        owners=owners,
    )


def _settled(request: Request, intent: Intent, infos: list[ModuleInfo]) -> set[tuple[str, str]]:
    """The cells that passed before with the same module on the same kernel."""
    releases = {host.row.id: host.row.release for host in intent.hosts}
    digests = {info.name: info.sha256[:DIGITS] for info in infos}
    known = {(cell.kernel, releases[cell.kernel], cell.module, digests[cell.module]) for cell in intent.cells} & request.settled
    return {(kernel, module) for kernel, release, module, digest in known if release and digest}


def _still_owed(intent: Intent, settled: set[tuple[str, str]]) -> list[Planned]:
    """The cells without those that are settled, but with all that the others need; what is skipped needs no time."""
    owed: list[Planned] = []
    for kernel in dict.fromkeys(cell.kernel for cell in intent.cells):
        mine = [cell for cell in intent.cells if cell.kernel == kernel]
        names = [cell.module for cell in mine if not cell.skip and (kernel, cell.module) not in settled]
        kept = {entry.name for entry in with_needs(names, intent.wanted)} if names else set()
        owed += [cell for cell in mine if cell.module in kept]
    return owed


def _first(cells: list[Planned], settled: set[tuple[str, str]]) -> dict[str, list[str]]:
    first: dict[str, list[str]] = {}
    for cell in cells:
        if (cell.kernel, cell.module) not in settled:
            first.setdefault(cell.kernel, []).append(cell.module)
    return first


def _with_packages(modules: str | Path, found: Iterable[object]) -> str:
    """MODULES with the folders of the packages that it names, as the first kernel's suites have them."""
    first = next((each for each in found if isinstance(each, Resolved)), None)
    if not first:
        raise LabError(
            f"MODULES: {modules}: only the lab's own kernels have an archive to take a package of: name one in KERNELS"
        )
    packages = packages_in(modules)
    words = (str(dkms_package.sources(first, word)) if word in packages else word for word in words_of(str(modules)))
    return shlex.join(words)


def _explorer(found: Callable[[], dict[str, Found]], limits: Limits) -> Explore:
    """By which kernel it is found out what a tree builds, where its rules do not say it: one whose build root is there, if any
    is, or else the first.
    """

    def one(part: Part, asked: Sequence[SourceModule]) -> Explored:
        kernels = [each for each in found().values() if isinstance(each, Resolved)]
        if not kernels:
            raise LabError("no kernel that the lab builds for can be resolved", hint="see what is said of each, or name another")
        kernels.sort(key=lambda each: (not roots.image_path(each, "build").exists(), each.kernel.foreign))
        first = kernels[0]
        root = roots.build_root(first)
        return kbuild.explore(
            root, roots.made_as(root.parent), first.release, part, asked, cross=first.kernel.cross, limits=limits
        )

    return one


def _known(host: Host, found: Host | LabError) -> Host:
    return host if isinstance(found, LabError) else found


def fleet(inventory: dict[str, Kernel], *, secureboot: bool, group: str = "fleet") -> list[str]:
    """The kernels of a run for which none are named; with Secure Boot, those whose machines have a UEFI firmware."""
    return [name for name in default_fleet(group=group) if not secureboot or inventory[name].vm_firmware == "ovmf"]


def _revision() -> str:
    """kmodlab's own revision, from git; the modules' folder may be a stranger's, so git is never run there."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--tags", "--dirty"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_LIMIT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def _cells(host: Host, modules: list[Module], quick: bool) -> list[Planned]:
    stages = [stage for stage in Stage if not (quick and stage is Stage.BEHAVIOUR)]
    if not host.line:  # a board that is not there: what its kernel cannot do is not known
        return [Planned(kernel=host.row.id, module=module.name, stages=stages) for module in modules]
    arch = host.row.arch
    skipped = skips(modules, host.line, arch, host.offers)
    return [
        Planned(
            kernel=host.row.id,
            module=module.name,
            stages=stages,
            skip=skipped.get(module.name, ""),
            expect=module.expectation(host.line, arch),
        )
        for module in modules
    ]


def _module_info(source: SourceModule, entry: Module, tree: Tree) -> ModuleInfo:
    path = (tree.origin / (entry.source[0] if entry.source else source.name)).resolve()
    shown = path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path
    sha = digest(*source.sources(), length=64) if source.sources() else ""
    return ModuleInfo(name=source.name, source=str(shown), sha256=sha)
