"""The column of a kernel that the lab boots itself: built in the kernel's own build root, run in a VM or as a program."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from kmodlab.build import build_log, coverage, kbuild, trees
from kmodlab.build.lines import source_lines
from kmodlab.build.make import Target
from kmodlab.build.modules import SourceModule, discover
from kmodlab.build.needs import own_needs
from kmodlab.build.trees import copied, working_copy
from kmodlab.debian import roots
from kmodlab.debian.archive import Resolved
from kmodlab.debian.roots import BootImage, boot_image, build_root
from kmodlab.ground import sandbox
from kmodlab.ground.cache import cache_dir, digest, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, write_aside
from kmodlab.ground.sandbox import Limits
from kmodlab.judge.classifier import Frame
from kmodlab.machine.firmware import ordinary
from kmodlab.machine.runtime import runtime_dir, stop_in
from kmodlab.machine.secureboot import secure_firmware, secure_kernel, signed_image
from kmodlab.machine.uml import Uml
from kmodlab.machine.vm import Vm
from kmodlab.plan.catalog import Module
from kmodlab.plan.wiring import Wiring
from kmodlab.results.contract import Stage, Verdict
from kmodlab.run.column import SIMULATOR, Column
from kmodlab.sign import keys, signing

CHECKS = "slub_debug=FZPU slab_debug=FZPU page_poison=1 kfence.sample_interval=10 init_on_alloc=0"
"""Words for a kernel that is to check itself; newer ones say slab, older ones slub. Caches that are checked are not merged."""
COMPILING = Limits(seconds=120)
"""For one user program."""


@dataclass(frozen=True)
class LabColumn(Column):
    """A kernel of the archive, or of the lab's own."""

    @property
    def resolved(self) -> Resolved:
        """What the archive holds for it."""
        return self.order.kernels[self.kernel]

    @property
    def release(self) -> str:
        return self.resolved.release

    @property
    def remark(self) -> str:
        return "(the archive was not reached: the version known from before)" if self.resolved.stale else ""

    @property
    def wiring(self) -> Wiring | None:
        return self.resolved.kernel.vm_gpio

    @property
    def machine(self) -> Path:
        """The folder of the machine's sockets and state."""
        return runtime_dir() / self.run.id / self.kernel

    @property
    def root(self) -> Path:
        """The root in which its modules are built and signed."""
        return self.image("build") / "root"

    @property
    def root_key(self) -> str:
        """What its modules' builds are known by, beside their sources."""
        return roots.made_as(self.image("build"))

    def image(self, kind: Literal["build", "boot"]) -> Path:
        """The folder of an image that `prepare` has found; its name is its content key."""
        link = self.folder / kind
        if not link.exists():
            raise LabError(f"run {self.run.id} has no {kind} image of {self.kernel}: run playbooks/images.yml first")
        return link.resolve()

    def prepare(self) -> bool:
        """Make the build root and the boot image, or find them in the cache, and keep for this run which ones they are."""
        resolved = self.resolved
        cached = all(roots.image_path(resolved, kind).exists() for kind in ("build", "boot"))
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, image in (("build", build_root(resolved).parent), ("boot", boot_image(resolved).folder)):
            (self.folder / name).unlink(missing_ok=True)
            (self.folder / name).symlink_to(image)
        self.run.note_kernel(self.kernel, compiler=kbuild.compiler(self.root, resolved.release))
        return not cached

    def build(self) -> bool:
        self.make_folders()
        key = self.build_key
        compiled, started = False, time.time()
        before = time.monotonic()

        def done(result: kbuild.BuildResult) -> None:
            nonlocal compiled, before
            built, name = result.built, result.module.name
            fresh = result.ko.exists() and result.ko.stat().st_mtime > started
            compiled |= fresh
            if built.ok:
                shutil.copyfile(result.ko, self.ko(name))
            problem = built.reason or self._programs(key, self.order.catalog[name])
            seconds = time.monotonic() - before if fresh else 0.0
            self.built(name, problem, seconds=seconds, warnings=built.warnings, log=result.log, left_out=built.left_out)
            before = time.monotonic()

        self._build([self.order.sources[entry.name] for entry in self.buildable()], done)
        self._build_beside()
        self.find_needs()
        if self.simulated:
            self._build_simulator(key)
        return compiled

    def _build(
        self, sources: list[SourceModule], done: Callable[[kbuild.BuildResult], None] = lambda result: None
    ) -> dict[str, kbuild.BuildResult]:
        """Build modules of the tree, with what else of it may have symbols that they need."""
        return kbuild.build(
            self.root,
            self.build_key,
            self.release,
            sources,
            done,
            beside=[each for each in self.order.modules if each not in sources and not each.problem],
            cross=self.resolved.kernel.cross,
            limits=replace(kbuild.BUILDING, seconds=self.order.manner.build_limit),
            coverage=self.counts_lines,
        )

    def _build_beside(self) -> None:
        """Build what the modules that were built need of their tree, and what nobody asked for."""
        planned = {cell.module for cell in self.run.planned.cells if cell.kernel == self.kernel}
        tried, waiting = planned, [name for name in planned if self.ko(name).exists()]
        while waiting:
            needed = {need for name in waiting for need in own_needs(self.ko(name), self.order.sources)} - tried
            tried |= needed
            results = self._build([self.order.sources[name] for name in sorted(needed)])
            waiting = [name for name in sorted(needed) if results[name].built.ok]
            for name in waiting:
                shutil.copyfile(results[name].ko, self.ko(name))

    def _build_simulator(self, key: str) -> None:
        resolved = self.resolved
        made = kbuild.build(self.root, key, resolved.release, discover(copied(SIMULATOR)), cross=resolved.kernel.cross)
        for result in made.values():
            if not result.built.ok:
                raise LabError(f"kernel {self.kernel}: the lab's own {result.module.name} does not build: {result.built.reason}")
            shutil.copyfile(result.ko, self.folder / "lab-modules" / result.ko.name)

    def _programs(self, root_key: str, entry: Module) -> str:
        """Compile a module's user programs in the build root, for the kernel's architecture; why that failed, or nothing."""
        for source in entry.programs:
            program = cache_dir() / "programs" / digest(root_key, source, trees.content(self.order.tree.folder))
            if not program.exists() and (problem := self._program(source, program)):
                return problem
            shutil.copy(program / "program", self.folder / "programs" / Path(source).stem)
        return ""

    def _program(self, source: str, target: Path) -> str:
        """Compile one; why that failed, or nothing. What failed is not kept."""
        with working_copy(self.order.tree.folder) as work:
            gcc = f"{self.resolved.kernel.cross}gcc"
            command = [gcc, "-O2", "-Wall", "-Wextra", "-Werror", "-o", "kmodlab-program", source]
            answer = sandbox.run(self.root, command, work=work, limits=COMPILING)
            if answer.status:
                return f"{source}: {build_log.failure_reason(answer.log, source)}"
            content = read_regular(work / "kmodlab-program", kbuild.LARGEST)
        with filled(target) as folder:
            (folder / "program").write_bytes(content)
            (folder / "program").chmod(0o755)
        return ""

    def sign(self) -> bool:
        """In the build root, by the kernel's own sign-file; what was signed before is found in the cache."""
        entries = self.alive(Stage.SIGN)
        if not entries:
            return False
        names = [*(entry.name for entry in entries), *self.beside]
        modules = {ko.name: ko for ko in [*map(self.ko, names), *self.lab_modules]}
        if self.order.throwaway_key:
            signing.sign_modules(self.root, self.release, [*modules.values()], keys.lab_key(self.run.folder, "rsa-2048"))
            self._note_signed(entries)
            return True
        key, store = keys.chosen_key(), cache_dir() / "signed"
        store.mkdir(exist_ok=True)
        signed = {name: store / f"{name}-{digest(ko, key.certificate)}.ko" for name, ko in modules.items()}
        missing = [name for name in signed if not signed[name].exists()]
        signing.sign_modules(self.root, self.release, [modules[name] for name in missing], key)
        for name in missing:
            write_aside(signed[name], modules[name].read_bytes())
        for name, ko in modules.items():
            shutil.copyfile(signed[name], ko)
        self._note_signed(entries)
        return bool(missing)

    def _note_signed(self, entries: Sequence[Module]) -> None:
        for entry in entries:
            self.record(entry.name, Stage.SIGN, Verdict.PASS)

    @property
    def build_key(self) -> str:
        """What names all that a build depends on beside the sources."""
        return digest(self.root_key, "coverage") if self.counts_lines else self.root_key

    @property
    def counts_lines(self) -> bool:
        return self.order.manner.coverage and self.resolved.kernel.counts_lines

    def lines_reached(self, module: str, needs: Sequence[str], counts: Mapping[str, bytes]) -> str:
        for need in needs:
            with suppress(LabError):  # its own cell says it
                self._count(need, counts, f"{need} for {module}")
        return coverage.in_words(self._count(module, counts, module))

    def _count(self, module: str, counts: Mapping[str, bytes], name: str) -> coverage.Lines:
        source, tree = self.order.sources[module], self.order.tree.folder
        target = Target(self.root, self.release, self.resolved.kernel.cross, coverage.READING)
        lines = coverage.count(target, kbuild.cached(self.build_key, source).notes, counts, source.part, tree)
        coverage.keep(lines, tree, self.reached / f"{name}.json")
        return coverage.kept(self.reached / f"{name}.json")

    @property
    def reached(self) -> Path:
        """The folder of what its modules counted, and of the pages made of that."""
        return self.run.folder / "coverage" / self.kernel

    def stop(self) -> bool:
        ran = super().stop()
        if self.reached.exists():
            try:
                coverage.pages(self.reached, self.order.tree)
            except (LabError, subprocess.TimeoutExpired) as problem:  # no verdict hangs on them
                self.log("coverage.log").write_text(f"{problem}\n")
        return ran

    def source_lines(self, module: str, frames: Sequence[Frame]) -> dict[Frame, str]:
        with suppress(LabError):  # what is known is told without
            built = kbuild.cached(self.build_key, self.order.sources[module])
            return source_lines(self.root, built.debug, frames, cross=self.resolved.kernel.cross)
        return {}

    def debug(self, name: str) -> Path:
        return kbuild.cached(self.build_key, self.order.sources[name]).debug

    def leave(self) -> None:
        if not self.kept:
            stop_in(self.machine)


class VmColumn(LabColumn):
    """One that runs in a VM."""

    @property
    def key_known(self) -> bool:
        trusted = self.order.manner.secureboot or self.resolved.kernel.vm_firmware == "ovmf"
        return trusted and not self.order.throwaway_key

    @property
    def checks(self) -> bool:
        return self.order.manner.checks

    @property
    def target(self) -> Vm:
        kernel, image = self.resolved.kernel, BootImage(self.image("boot"))
        if self.checks:
            kernel = kernel.model_copy(update={"vm_cmdline": f"{kernel.vm_cmdline} {CHECKS}"})
        if self.order.manner.secureboot:
            firmware = secure_firmware(kernel, [self._certificate])
            return Vm(secure_kernel(kernel), signed_image(image), self.machine, self.console, firmware)
        return Vm(kernel, image, self.machine, self.console, ordinary(kernel, self._certificate))

    @cached_property
    def _certificate(self) -> Path:
        """That of the signing key. Checking a key takes a tenth of a second."""
        return keys.chosen_key().certificate


class UmlColumn(LabColumn):
    """One that runs as a program of this machine."""

    @property
    def key_known(self) -> bool:
        return False  # no firmware tells it of a key

    @property
    def target(self) -> Uml:
        return Uml(self.resolved.kernel, BootImage(self.image("boot")), self.machine, self.console)
