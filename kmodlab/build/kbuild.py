"""Build modules for one kernel in its build root, so that one broken module costs one cell.

All modules of a part are first built in one `make`, which is as fast as kbuild can be, and again without those that broke it.
What could not be built is then built alone, each for its own log; so are all of them where the build does not say which one is at
fault.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab.build import dkms
from kmodlab.build.build_log import (
    LACKS,
    UNDEFINED,
    failed_modules,
    failure_reason,
    reached_kbuild,
    split_log,
    warnings,
    went_wrong,
    word,
)
from kmodlab.build.make import SYMBOLS, Bench, Target, bench
from kmodlab.build.modules import Explored, Part, SourceModule, module_of
from kmodlab.ground import sandbox
from kmodlab.ground.cache import cache_dir, digest, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, remove_tree
from kmodlab.ground.sandbox import Answer, Limits

BUILDING = Limits(seconds=600)
"""For one `make`, however many modules, where nobody asks for more or less."""
LARGEST = 256 << 20
"""Bytes of a built module, its debug information included."""
FULL = 64 << 20
"""Bytes: a disk with less is full. A sandbox's own /tmp may be, too, and anybody can print that a disk is."""
ELF = b"\x7fELF"
RECIPE = "6"
"""To be raised when the code below makes something else of the same sources in the same root."""
EXPORT = re.compile(r"^0x\w+\t(\S+)", re.MULTILINE)
"""A line of kbuild's list of what modules export."""
MOST_ALONE = 16
"""Modules of a tree that more than its own rules decide are built alone, so many at most: each may cost a build of all of it."""
MOST_MODULES = 1000
"""That come out of one part's build."""


class Built(BaseModel):
    """What became of one module's build. Caches of earlier versions say more of it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ok: bool
    reason: str = ""
    """One line; empty where it was built."""
    left_out: bool = False
    """Whether nothing failed, and the tree's rules just do not build it for this kernel: the reason says so."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildResult:
    """A module's build in the cache."""

    module: SourceModule
    folder: Path

    @property
    def built(self) -> Built:
        return Built.model_validate_json((self.folder / "built.json").read_text())

    @property
    def ko(self) -> Path:
        return self.folder / f"{self.module.file}.ko"

    @property
    def debug(self) -> Path:
        """The same with all of its debug information; not there where the build made none that can be kept."""
        return self.folder / f"{self.module.file}.debug"

    @property
    def notes(self) -> Path:
        """What its compiler noted of each object, which its counts are read with; not there where it counts nothing."""
        return self.folder / f"{self.module.file}.notes"

    @property
    def log(self) -> str:
        return (self.folder / "build.log").read_text()


def compiler(root: Path, release: str) -> str:
    """The compiler that built the kernel, as its configuration says: `gcc-14 (Debian 14.2.0-19) 14.2.0`."""
    text = (root / "lib/modules" / release / "build/include/config/auto.conf").resolve()
    path = root / "usr/src" / f"linux-headers-{release}" / "include/config/auto.conf"
    found = re.search(r'^CONFIG_CC_VERSION_TEXT="?(.*?)"?$', (path if path.exists() else text).read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def cached(root_key: str, module: SourceModule) -> BuildResult:
    """Where a module's build for a root is, or would be."""
    return BuildResult(module, cache_dir() / "modules" / f"{module.file}-{digest(root_key, module.key(), RECIPE)}")


def build(
    root: Path,
    root_key: str,
    release: str,
    modules: Iterable[SourceModule],
    done: Callable[[BuildResult], None] = lambda result: None,
    *,
    beside: Iterable[SourceModule] = (),
    cross: str = "",
    limits: Limits = BUILDING,
    coverage: bool = False,
) -> dict[str, BuildResult]:
    """Build modules (or take them from the cache) for kernel `release`, whose build root is `root`; results by name.

    `done` is called for each module as soon as its build is decided. `root_key` names the root's content. `cross` is what
    the names of the root's compiler and tools begin with, where the kernel is of another architecture than the root.
    `beside` are the tree's other modules: they are built, too, where one of `modules` lacks a symbol that they may have.
    """
    modules, others = list(modules), list(beside)
    owed = {module.name for module in modules}
    kernel = Target(root, release, cross, limits, coverage=coverage)
    results: dict[str, BuildResult] = {}
    waiting, symbols = modules, dict[Part, str]()

    def decided(result: BuildResult) -> None:
        if result.module.name in owed:
            owed.remove(result.module.name)
            done(result)

    while waiting:
        later = _build_parts(kernel, root_key, waiting, symbols, results, decided, tentative=bool(others))
        if later and others:
            waiting = modules = [*modules, *others]
            others = []
            continue
        more = _exported(results[module.name] for module in modules if module not in later)
        lacking = {name for module in later for name in UNDEFINED.findall(results[module.name].log)}
        listed = set(EXPORT.findall("".join(more.values())))
        if more == symbols or (lacking and not lacking & listed):
            for module in later:
                decided(results[module.name])
            return results
        waiting, symbols = later, more
    return results


def _build_parts(
    kernel: Target,
    root_key: str,
    modules: list[SourceModule],
    symbols: dict[Part, str],
    results: dict[str, BuildResult],
    done: Callable[[BuildResult], None],
    *,
    tentative: bool = False,
) -> list[SourceModule]:
    """Build modules by their parts, with what other parts export; those that lack something which a part may yet export.

    That a module lacks something is not kept where it is built without the tree's others, which is `tentative`.
    """
    key = digest(root_key, *symbols.values()) if symbols else root_key
    results |= {module.name: cached(key, module) for module in modules}
    several = len({module.part for module in modules}) > 1 or bool(symbols) or tentative
    later: list[SourceModule] = []

    def decide(module: SourceModule) -> None:
        result = results[module.name]
        if several and not result.built.ok and LACKS.search(result.log):
            later.append(module)
        else:
            done(result)

    def store(module: SourceModule, ko: Path | None, log: str, left_out: str = "", exports: str = "") -> None:
        if tentative and not ko and LACKS.search(log):
            later.append(module)
            return
        _store(results[module.name], ko, log, left_out, exports)
        decide(module)

    missing = [module for module in modules if not _decided(results[module.name])]
    for module in modules:
        if module not in missing:
            decide(module)
    for part in dict.fromkeys(module.part for module in missing):
        batch = [module for module in missing if module.part == part]
        good = [module for module in modules if module.part == part and module not in batch and results[module.name].built.ok]
        _build_part(replace(kernel, symbols=symbols), part, batch, good, store)
    return later


def _exported(results: Iterable[BuildResult]) -> dict[Part, str]:
    """What the modules that were built export, by their parts."""
    found: dict[Part, str] = {}
    for result in results:
        listed = result.folder / SYMBOLS
        if listed.exists():
            found[result.module.part] = found.get(result.module.part, "") + listed.read_text()
    return found


def explore(
    root: Path,
    root_key: str,
    release: str,
    part: Part,
    asked: Sequence[SourceModule],
    *,
    cross: str = "",
    limits: Limits = BUILDING,
) -> Explored:
    """Build a part, whose rules name modules, for a kernel, or find what came out of it. The modules' builds are kept, too.

    What is killed, or was not reached, is not kept: `build` tries it again.
    """
    known = cache_dir() / "explored" / digest(root_key, part.key(), RECIPE)
    if not (known / "explored.json").exists():
        kernel = Target(root, release, cross, limits)
        if part.dkms:
            named = [module_of(part, path, (path,), f"{dkms.FILE} names '{path}'") for path in dkms.named(root, release, part)]
            asked = named or asked
        with bench(kernel, part) as work:
            joint = _rounds(work, list(asked))
            made, exports = work.products(), work.symbols()
            if len(made) > MOST_MODULES:
                raise LabError(f"MODULES: {part.folder} makes more than {MOST_MODULES} modules")
            modules = [module for module in asked if module.path in made or module in joint.broken or part.dkms]
            asked_paths = {module.path for module in asked}
            unasked = [path for path in made if path not in asked_paths and not part.dkms]
            modules += [module_of(part, path, (path,), f"the build makes '{path}.ko'") for path in unasked]
            logs = split_log(joint.log, modules)
            work.strip(made.values())
            for module in modules:
                if part.dkms and module.path not in made:  # a package is built as one
                    _store(cached(root_key, module), None, joint.log, dkms.excluded(joint.log))
                elif module.path in made or word(logs[module.path]):
                    _store(cached(root_key, module), made.get(module.path), logs[module.path], exports=exports)
        found = _Known(modules=modules, clean=joint.clean, word=word(joint.log))
        if joint.last.overrun:
            return Explored(found.modules, found.clean, found.word)
        with filled(known) as folder:
            (folder / "explored.json").write_text(found.model_dump_json())
    found = _Known.model_validate_json((known / "explored.json").read_text())
    # The same sources may be in another tree's copy today.
    return Explored([module.model_copy(update={"part": part}) for module in found.modules], found.clean, found.word)


class _Known(BaseModel):
    """What is kept of an exploration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modules: list[SourceModule]
    clean: bool
    word: str


def _decided(result: BuildResult) -> bool:
    """Whether a build is in the cache. One that was killed is tried again: another time the machine may be less busy."""
    if not (result.folder / "built.json").exists():
        return False
    if result.built.reason.startswith(sandbox.KILLED):
        remove_tree(result.folder)
        return False
    return True


Store = Callable[..., None]


@dataclass
class _Joint:
    """What a build of several modules together has said."""

    way: str
    last: Answer
    logs: list[str]
    broken: list[SourceModule] = field(default_factory=list)
    """Those that broke it, by name."""

    @property
    def log(self) -> str:
        return "".join(self.logs)

    @property
    def clean(self) -> bool:
        """Whether its last round, without what is broken, went well."""
        return self.last.status == 0


def _rounds(work: Bench, wanted: list[SourceModule], only: Sequence[SourceModule] = ()) -> _Joint:
    """Make modules together, again without those that broke it, and in the next way where one does not reach kbuild."""
    joint = _Joint("", Answer(1, ""), [])
    for way in work.ways():
        joint = _Joint(way, Answer(1, ""), [])
        while True:
            joint.last = work.make(way, only, joint.broken)
            joint.logs.append(joint.last.log)
            made = work.products()
            missing = [module for module in wanted if module.path not in made and module not in joint.broken]
            broken = failed_modules(joint.last.output, missing)
            joint.broken += broken
            done = joint.last.status == 0 or joint.last.overrun or way == "dkms"
            if done or not broken or len(joint.broken) == len(wanted):
                break
        if (not missing and (made or joint.broken)) or reached_kbuild(joint.last.output) or joint.last.overrun:
            return joint
    return joint


def _build_part(kernel: Target, part: Part, batch: list[SourceModule], good: list[SourceModule], store: Store) -> None:
    """Build the modules of a part that are not decided, beside those that are: `good`."""
    alone: list[SourceModule] = batch
    if len(batch) > 1 or not part.plain:
        with bench(kernel, part) as work:
            joint = _rounds(work, batch, batch if part.plain else ())
            made, exports = work.products(), work.symbols()
            logs = split_log(joint.log, batch)
            done = [module for module in batch if module.path in made]
            work.strip(made[module.path] for module in done)
            for module in done:
                store(module, made[module.path], logs[module.path], exports=exports)
            alone = [module for module in batch if module not in done]
            if not part.plain:
                alone = _told(joint, alone, logs, bool(made), store)
        good = [*good, *done]
    _alone(kernel, alone, good, store)


def _told(joint: _Joint, rest: list[SourceModule], logs: dict[str, str], any_made: bool, store: Store) -> list[SourceModule]:
    """Store what the joint log of a tree tells of those that were not made; those that must be tried alone."""
    unknown = []
    if joint.way == "dkms":
        for module in rest:
            store(module, None, joint.log, dkms.excluded(joint.log))
        return []
    for module in rest:
        if module in joint.broken and word(logs[module.path]):
            store(module, None, logs[module.path])
        elif joint.clean and any_made and module not in joint.broken and not went_wrong(logs[""]):
            store(module, None, joint.log, f"the tree's own build makes no {module.path}.ko for this kernel")
        else:
            unknown.append(module)
    for module in unknown[MOST_ALONE:]:
        store(module, None, logs[module.path] if word(logs[module.path]) else joint.log)
    return unknown[:MOST_ALONE]


def _alone(kernel: Target, modules: list[SourceModule], good: list[SourceModule], store: Store) -> None:
    """Build each module by itself, and those that lack another's symbols once more beside all that could be built: `good`, and
    whichever come to that.
    """
    waiting = modules
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        beside: list[SourceModule] = []
        while waiting:
            logs = list(pool.map(partial(_one, kernel, beside, store), waiting))
            lacking = [module for module, log in zip(waiting, logs, strict=True) if log and UNDEFINED.search(log)]
            good = [*good, *(module for module, log in zip(waiting, logs, strict=True) if log is None)]
            news = len(good) > len(beside) and bool(lacking)
            for module, log in zip(waiting, logs, strict=True):
                if log is not None and not (news and module in lacking):
                    store(module, None, log, _left_out(module, log, good))
            waiting, beside = (lacking if news else []), good


def _left_out(module: SourceModule, log: str, good: list[SourceModule]) -> str:
    """That nothing failed where a module was not made, and others of its folder were."""
    if not good or went_wrong(log):
        return ""
    return f"its folder's own rules make no {module.path}.ko for this kernel"


def _one(kernel: Target, beside: list[SourceModule], store: Store, module: SourceModule) -> str | None:
    """Build one module, beside others; what was said where that failed."""
    with bench(kernel, module.part) as work:
        joint = _rounds(work, [module], [*beside, module])
        ko = work.products().get(module.path)
        if ko:
            work.strip([ko])
            log = split_log(joint.log, [*beside, module])[module.path] if beside else joint.log
            store(module, ko, log, exports=work.symbols())
        return None if ko else joint.log


def _store(result: BuildResult, ko: Path | None, log: str, left_out: str = "", exports: str = "") -> None:
    name = result.module.name
    content, reason = b"", left_out
    try:
        content = read_regular(ko, LARGEST) if ko else b""
    except LabError as problem:
        reason = str(problem)
    if content and not content.startswith(ELF):
        content, reason = b"", f"{name}.ko, which the Makefile made, is no ELF file"
    if not content and re.search("No space left on device", log) and shutil.disk_usage(tempfile.gettempdir()).free < FULL:
        raise LabError(
            f"module {name} cannot be built: no space left on device", hint="free some, or set TMPDIR and XDG_CACHE_HOME"
        )
    built = Built(
        ok=bool(content),
        reason="" if content else reason or failure_reason(log, name),
        left_out=bool(left_out) and not content,
        warnings=warnings(log),
    )
    with filled(result.folder) as folder:
        if content and ko:
            (folder / result.ko.name).write_bytes(content)
            for beside in (result.debug, result.notes):
                with suppress(LabError):  # what is known of the module is known without
                    (folder / beside.name).write_bytes(read_regular(ko.with_name(f"{ko.name}{beside.suffix}"), LARGEST))
            own = [
                line for line in exports.splitlines() if result.module.file in [Path(word).name for word in line.split("\t")[2:3]]
            ]
            if own:
                (folder / SYMBOLS).write_text("".join(f"{line}\n" for line in own))
        (folder / "build.log").write_text(log)
        (folder / "built.json").write_text(built.model_dump_json())
