"""Build modules for one kernel in its build root, so that one broken module costs one cell.

All modules of a folder are first built in one `make`, which is as fast as kbuild can be. Modules that it could not
build are then built alone, each for its own log; so are all of them where kbuild does not say which one is at fault.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab.build.modules import SourceModule, rules_file
from kmodlab.build.trees import working_copy
from kmodlab.ground import sandbox
from kmodlab.ground.cache import cache_dir, digest, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, regular_files, remove_tree, write_aside
from kmodlab.ground.sandbox import Answer, Limits
from kmodlab.results.contract import one_line

BUILDING = Limits(seconds=600)
"""For one `make`, however many modules, where nobody asks for more or less."""
LARGEST = 256 << 20
"""Bytes of a built module, its debug information included."""
MOST_WARNINGS = 20
"""Of a module's warnings, so many are kept one by one; the log has all."""
FULL = 64 << 20
"""Bytes: a disk with less is full. A sandbox's own /tmp may be, too, and anybody can print that a disk is."""
ELF = b"\x7fELF"
STRIP = 'for file; do "$0" --strip-debug "$file"; done'
RECIPE = "3"
"""To be raised when the code below makes something else of the same sources in the same root."""
KBUILD = """\
# Made by kmodlab in its copy of your folder: your own rules, restricted to the modules that are asked for.
include $(src)/{rules}
obj-m := $(filter $(KMODLAB_OBJECTS),$(obj-m))
obj-y :=
"""
FAILED = re.compile(
    r"\*\*\* \[[^\]]*?([\w.+-]+)\.(?:o|ko|mod|mod\.c)\] Error"
    r"|ERROR: modpost: .*\[(?:\S*/)?([\w.+-]+)\.ko\]"
    r"|ERROR: modpost: .*?(?:^|[ /])([\w.+-]+): "
    r"|ERROR: modpost: missing \S+ in (?:\S*/)?([\w.+-]+)\.o"
    r"|(?:\S*/)?([\w.+-]+)\.o: error: objtool"
)
"""How kbuild names what it could not make: make's own word, modpost's (two forms), objtool's."""
UNDEFINED = re.compile(r'^ERROR: modpost: "\S+" \[\S+\] undefined!$', re.MULTILINE)
"""A symbol that the kernel has not: another module of the folder may have it."""
STEP = re.compile(r"^  [A-Z][A-Z0-9_]*(?: \[M\])? +(?:\S*/)?([\w.+-]+?)\.(?:o|ko|mod|mod\.c|mod\.o)$")
"""kbuild's line for a step: `  CC [M]  /mnt/hello-1.o`."""


class Built(BaseModel):
    """What became of one module's build. Caches of earlier versions say more of it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ok: bool
    reason: str = ""
    """One line; empty where it was built."""
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
        return self.folder / f"{self.module.name}.ko"

    @property
    def log(self) -> str:
        return (self.folder / "build.log").read_text()


@dataclass(frozen=True)
class Target:
    """What modules are built for, and where."""

    root: Path
    release: str
    cross: str
    limits: Limits


def compiler(root: Path, release: str) -> str:
    """The compiler that built the kernel, as its configuration says: `gcc-14 (Debian 14.2.0-19) 14.2.0`."""
    text = (root / "lib/modules" / release / "build/include/config/auto.conf").resolve()
    path = root / "usr/src" / f"linux-headers-{release}" / "include/config/auto.conf"
    found = re.search(r'^CONFIG_CC_VERSION_TEXT="?(.*?)"?$', (path if path.exists() else text).read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def cached(root_key: str, module: SourceModule) -> BuildResult:
    """Where a module's build for a root is, or would be."""
    return BuildResult(module, cache_dir() / "modules" / f"{module.name}-{digest(root_key, module.key(), RECIPE)}")


def build(
    root: Path,
    root_key: str,
    release: str,
    modules: Iterable[SourceModule],
    done: Callable[[BuildResult], None] = lambda result: None,
    *,
    cross: str = "",
    limits: Limits = BUILDING,
) -> dict[str, BuildResult]:
    """Build modules (or take them from the cache) for kernel `release`, whose build root is `root`; results by name.

    `done` is called for each module as soon as its build is decided. `root_key` names the root's content. `cross` is what
    the names of the root's compiler and tools begin with, where the kernel is of another architecture than the root.
    """
    modules = list(modules)
    kernel = Target(root, release, cross, limits)
    results = {module.name: cached(root_key, module) for module in modules}
    missing = [module for module in modules if not _decided(results[module.name])]
    for module in modules:
        if module not in missing:
            done(results[module.name])

    def store(module: SourceModule, ko: Path | None, log: str) -> None:
        _store(results[module.name], ko, log)
        done(results[module.name])

    for folder in {module.folder: None for module in missing}:
        batch = [module for module in missing if module.folder == folder]
        alone = _together(kernel, folder, batch, store)
        broken = set(alone)
        others = [module for module in modules if module.folder == folder and module not in broken]
        _alone(kernel, alone, [module for module in others if results[module.name].built.ok], store)
    return results


def _decided(result: BuildResult) -> bool:
    """Whether a build is in the cache. One that was killed is tried again: another time the machine may be less busy."""
    if not (result.folder / "built.json").exists():
        return False
    if result.built.reason.startswith(sandbox.KILLED):
        remove_tree(result.folder)
        return False
    return True


Store = Callable[[SourceModule, Path | None, str], None]


def _together(kernel: Target, folder: Path, batch: list[SourceModule], store: Store) -> list[SourceModule]:
    """One make for a folder's modules, again without those that broke it; returns what must be built alone."""
    alone: list[SourceModule] = []
    with _prepared(folder) as work:
        while len(batch) > 1:
            answer = _make(kernel, work, batch, jobs=os.cpu_count() or 1)
            if answer.status == 0:
                products = _products(kernel, work)
                logs = split_log(answer.output, batch)
                for module in batch:
                    ko = products.get(module.name)
                    store(module, ko, logs[module.name]) if ko else alone.append(module)
                return alone
            broken = failed_modules(answer.output, batch)
            if answer.overrun or not broken:
                break
            alone += broken
            batch = [module for module in batch if module not in broken]
    return alone + batch


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
                    store(module, None, log)
            waiting, beside = (lacking if news else []), good


def _one(kernel: Target, beside: list[SourceModule], store: Store, module: SourceModule) -> str | None:
    """Build one module, beside others; what was said where that failed."""
    with _prepared(module.folder) as work:
        answer = _make(kernel, work, [*beside, module], jobs=1)
        ko = _products(kernel, work).get(module.name) if answer.status == 0 else None
        if ko:
            store(module, ko, split_log(answer.output, [*beside, module])[module.name] if beside else answer.log)
        return None if ko else answer.log


@contextmanager
def _prepared(folder: Path) -> Iterator[Path]:
    """A copy of the sources, with rules of ours in front of theirs. Nothing of ours is written there once theirs have run."""
    with working_copy(folder) as work:
        rules = rules_file(folder)
        if rules == "Kbuild":
            rules = "Kbuild.user"
            (work / "Kbuild").rename(work / rules)
        write_aside(work / "Kbuild", KBUILD.format(rules=rules))
        yield work


def _make(kernel: Target, work: Path, modules: list[SourceModule], *, jobs: int) -> Answer:
    objects = " ".join(f"{module.name}.o %/{module.name}.o" for module in modules)
    command = [
        "make",
        "-C",
        f"/lib/modules/{kernel.release}/build",
        f"M={sandbox.WORK}",
        f"KMODLAB_OBJECTS={objects}",
        "-k",
        f"-j{jobs}",
        "--output-sync=target",
        *([f"CROSS_COMPILE={kernel.cross}"] if kernel.cross else []),
        "modules",
    ]
    return sandbox.run(kernel.root, command, work=work, limits=kernel.limits)


def _products(kernel: Target, work: Path) -> dict[str, Path]:
    """The modules that a build made, by name, without what only a debugger reads, as `make modules_install` strips them.

    That is nine tenths of a module, all of which an emulated guest must receive, hash and check at each load.
    """
    products = {path.stem: path for path in regular_files(work, "*.ko")}
    if products:
        names = [f"./{path.relative_to(work)}" for path in products.values()]
        sandbox.run(kernel.root, ["sh", "-c", STRIP, f"{kernel.cross}strip", *names], work=work, limits=BUILDING)
    return products


def _store(result: BuildResult, ko: Path | None, log: str) -> None:
    name = result.module.name
    content, reason = b"", ""
    try:
        content = read_regular(ko, LARGEST) if ko else b""
    except LabError as problem:
        reason = str(problem)
    if content and not content.startswith(ELF):
        content, reason = b"", f"{name}.ko, which the Makefile made, is no ELF file"
    if not content and re.search("No space left on device", log) and shutil.disk_usage(tempfile.gettempdir()).free < FULL:
        raise LabError(f"module {name} cannot be built: no space left on device; free some, or set TMPDIR and XDG_CACHE_HOME")
    built = Built(ok=bool(content), reason="" if content else reason or failure_reason(log, name), warnings=warnings(log))
    with filled(result.folder) as folder:
        if content:
            (folder / result.ko.name).write_bytes(content)
        (folder / "build.log").write_text(log)
        (folder / "built.json").write_text(built.model_dump_json())


def warnings(log: str) -> tuple[str, ...]:
    """A build's warnings, each as one line; of many the first, and how many more there are."""
    found = [one_line(line) for line in log.splitlines() if re.search(r"\bwarning:|\bWARNING:", line)]
    more = len(found) - MOST_WARNINGS
    return (*found[:MOST_WARNINGS], *([f"and {more} more: see the log"] if more > 0 else []))


def failure_reason(log: str, name: str) -> str:
    """The one line of a build log that says why: what it was killed for, else the compiler's first error, else modpost's or
    objtool's, else the tool that is missing, else make's.
    """
    lines = [line.strip() for line in log.splitlines()]
    for pattern in (f"^{sandbox.KILLED}", r"error:", r"^ERROR:", r": (command )?not found$", r"\*\*\*"):
        for line in lines:
            if re.search(pattern, line):
                return line.replace(f"{sandbox.WORK}/", "")
    return f"the Makefile built no {name}.ko"


def failed_modules(log: str, batch: list[SourceModule]) -> list[SourceModule]:
    """Which modules of a batch broke its build, as far as kbuild names them or one of their objects."""
    named = {name for match in FAILED.finditer(log) for name in match.groups() if name}
    return [module for module in batch if named & {module.name, *(Path(part).name for part in module.objects)}]


def split_log(log: str, batch: list[SourceModule]) -> dict[str, str]:
    """Give each module its own part of a joint log; a target's lines stand together (make --output-sync)."""
    owner = {Path(part).name: module.name for module in batch for part in (module.name, *module.objects)}
    parts: dict[str, list[str]] = {module.name: [] for module in batch}
    current: str | None = None
    for line in log.splitlines():
        if step := STEP.match(line):
            current = owner.get(step[1].removesuffix(".mod"))
        elif re.match(r"^(make(\[\d+\])?:|  [A-Z]+ )", line):
            current = None
        if named := re.match(r"^(?:In file included from )?(?:\S*/)?([\w.+-]+)\.[chS]:", line):
            current = owner.get(named[1], current)
        if current:
            parts[current].append(line)
    return {name: "\n".join(lines) + "\n" for name, lines in parts.items()}
