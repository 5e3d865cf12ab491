"""Build modules for one kernel in its build root, so that one broken module costs one cell.

All modules of a folder are first built in one `make`, which is as fast as kbuild can be. Modules that it could not
build are then built alone, each for its own log; so are all of them where kbuild does not say which one is at fault.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab import sandbox
from kmodlab.cache import cache_dir, digest, filled, write_aside
from kmodlab.errors import LabError
from kmodlab.modules import GENERATED, SourceModule, rules_file

BUILD_LIMIT = 600.0
"""Seconds for one `make`, however many modules."""
RECIPE = "2"
"""To be raised when the code below makes something else of the same sources in the same root."""
KBUILD = """\
# Made by kmodlab in its copy of your folder: your own rules, restricted to the modules that are asked for.
include $(src)/{rules}
obj-m := $(filter {objects},$(obj-m))
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
STEP = re.compile(r"^  [A-Z][A-Z0-9_]*(?: \[M\])? +(?:\S*/)?([\w.+-]+?)\.(?:o|ko|mod|mod\.c|mod\.o)$")
"""kbuild's line for a step: `  CC [M]  /mnt/hello-1.o`."""


class Built(BaseModel):
    """What became of one module's build."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ok: bool
    reason: str = ""
    """One line; empty where it was built."""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


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
) -> dict[str, BuildResult]:
    """Build modules (or take them from the cache) for kernel `release`, whose build root is `root`; results by name.

    `done` is called for each module as soon as its build is decided. `root_key` names the root's content. `cross` is what
    the names of the root's compiler and tools begin with, where the kernel is of another architecture than the root.
    """
    modules = list(modules)
    kernel = Target(root, release, cross)
    names = {module.name: module for module in modules}
    results = {module.name: cached(root_key, module) for module in modules}
    missing = [m for m in modules if not (results[m.name].folder / "built.json").exists()]
    for module in modules:
        if module not in missing:
            done(results[module.name])

    def store(module: SourceModule, ko: Path | None, log: str) -> None:
        _store(results[module.name], ko, log)
        done(results[module.name])

    for folder in {module.folder: None for module in missing}:
        batch = [module for module in missing if module.folder == folder]
        with tempfile.TemporaryDirectory(prefix="kmodlab-build-") as scratch:
            rest = _together(kernel, folder, batch, Path(scratch), store)
        _alone(kernel, rest, names, results, store)
    return results


Store = Callable[[SourceModule, Path | None, str], None]


def _together(kernel: Target, folder: Path, batch: list[SourceModule], scratch: Path, store: Store) -> list[SourceModule]:
    """One make for a folder's modules, again without those that broke it; returns what must be built alone."""
    work = scratch / "work"
    _copy(folder, work)
    batch, alone = list(batch), []
    while len(batch) > 1:
        answer = _make(kernel, folder, work, batch, jobs=os.cpu_count() or 1)
        if answer.returncode == 0:
            _strip(kernel, work)
            logs = split_log(answer.stdout, batch)
            for module in batch:
                ko = _product(work, module)
                store(module, ko, logs[module.name]) if ko else alone.append(module)
            return alone
        broken = failed_modules(answer.stdout, batch)
        if not broken:
            break
        alone += broken
        batch = [module for module in batch if module not in broken]
    return alone + batch


def _alone(
    kernel: Target,
    modules: list[SourceModule],
    names: dict[str, SourceModule],
    results: dict[str, BuildResult],
    store: Store,
) -> None:
    def one(module: SourceModule) -> None:
        with tempfile.TemporaryDirectory(prefix="kmodlab-build-") as scratch:
            work = Path(scratch) / "work"
            _copy(module.folder, work)
            answer = _make(kernel, module.folder, work, [module], jobs=1)
            _strip(kernel, work)
            store(module, _product(work, module) if answer.returncode == 0 else None, answer.stdout)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(one, modules))


def _copy(folder: Path, work: Path) -> None:
    def unwanted(_: str, found: list[str]) -> list[str]:
        return [name for name in found if GENERATED.search(name) or name in ("modules.order", "Module.symvers")]

    shutil.copytree(folder, work, ignore=unwanted, symlinks=False, ignore_dangling_symlinks=True)


def _make(
    kernel: Target, folder: Path, work: Path, modules: list[SourceModule], *, jobs: int
) -> subprocess.CompletedProcess[str]:
    rules = rules_file(folder)
    if rules == "Kbuild":
        rules = "Kbuild.user"
        shutil.copyfile(folder / "Kbuild", work / rules)
    objects = " ".join(f"{module.name}.o %/{module.name}.o" for module in modules)
    write_aside(work / "Kbuild", KBUILD.format(rules=rules, objects=objects))
    command = [
        "make",
        "-C",
        f"/lib/modules/{kernel.release}/build",
        f"M={sandbox.WORK}",
        "-k",
        f"-j{jobs}",
        "--output-sync=target",
        *([f"CROSS_COMPILE={kernel.cross}"] if kernel.cross else []),
        "modules",
    ]
    return sandbox.run(kernel.root, command, work=work, limit=BUILD_LIMIT)


def _strip(kernel: Target, work: Path) -> None:
    """Take out what only a debugger reads, as `make modules_install` with INSTALL_MOD_STRIP does.

    It is nine tenths of a module, all of which an emulated guest must receive, hash and check at each load.
    """
    products = [str(path.relative_to(work)) for path in work.rglob("*.ko")]
    if products:
        answer = sandbox.run(kernel.root, [f"{kernel.cross}strip", "--strip-debug", *products], work=work, limit=BUILD_LIMIT)
        if answer.returncode:
            raise LabError(f"kernel {kernel.release}: its modules cannot be stripped: {answer.stdout.strip().splitlines()[-1:]}")


def _product(work: Path, module: SourceModule) -> Path | None:
    return next(iter(work.rglob(f"{module.name}.ko")), None)


def _store(result: BuildResult, ko: Path | None, log: str) -> None:
    if re.search("No space left on device", log):
        raise LabError(
            f"module {result.module.name} cannot be built: no space left on device; free some, or set TMPDIR and XDG_CACHE_HOME"
        )
    warnings = tuple(line.strip() for line in log.splitlines() if re.search(r"\bwarning:|\bWARNING:", line))
    reason = "" if ko else failure_reason(log, result.module.name)
    with filled(result.folder) as folder:
        if ko:
            shutil.copyfile(ko, folder / result.ko.name)
        (folder / "build.log").write_text(log)
        (folder / "built.json").write_text(Built(ok=bool(ko), reason=reason, warnings=warnings).model_dump_json())


def failure_reason(log: str, name: str) -> str:
    """The one line of a build log that says why: the compiler's first error, else modpost's or objtool's, else make's."""
    lines = [line.strip() for line in log.splitlines()]
    for pattern in (r"error:", r"^ERROR:", r"\*\*\*"):
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
