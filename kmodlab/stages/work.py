"""The stages of a run for one kernel. Each records what it found out about every cell, and never stops another kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from kmodlab.build import kbuild, trees
from kmodlab.build.modules import discover
from kmodlab.build.trees import copied, working_copy
from kmodlab.debian import roots
from kmodlab.ground import sandbox
from kmodlab.ground.cache import REPOSITORY, cache_dir, digest, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, write_aside
from kmodlab.ground.sandbox import Limits
from kmodlab.plan.catalog import Module
from kmodlab.plan.wiring import SIMULATOR_SOURCES
from kmodlab.results import events
from kmodlab.results.contract import Check, Stage, Verdict
from kmodlab.run.deploy import PARTS, deploy
from kmodlab.run.lab import Lab
from kmodlab.sign import keys, signing
from kmodlab.stages import board_work
from kmodlab.verify import retrial

TEST_LIMIT = 300
"""Seconds that one test may take, whatever hangs."""
COMPILING = Limits(seconds=120)
"""For one user program."""


def make_images(lab: Lab, kernel: str) -> bool:
    """Make a kernel's build root and boot image, or find them in the cache; True if any was made."""
    resolved = lab.resolved(kernel)
    cached = all(roots.image_path(resolved, kind).exists() for kind in ("build", "boot"))
    lab.use_images(kernel)
    lab.run.note_kernel(kernel, compiler=kbuild.compiler(lab.build_root(kernel), resolved.release))
    return not cached


def build_modules(lab: Lab, kernel: str) -> bool:
    """Build a kernel's modules, each for its own verdict; True if anything was compiled."""
    resolved = lab.resolved(kernel)
    root, entries = lab.build_root(kernel), lab.buildable(kernel)
    key = lab.image(kernel, "build").name
    compiled = False
    for part in PARTS:
        (lab.artefacts(kernel) / part).mkdir(parents=True, exist_ok=True)
    before = time.monotonic()

    def done(result: kbuild.BuildResult) -> None:
        nonlocal compiled, before
        built, name = result.built, result.module.name
        fresh = result.ko.exists() and result.ko.stat().st_mtime > start_time
        compiled |= fresh
        if built.ok:
            shutil.copyfile(result.ko, lab.artefacts(kernel) / "modules" / result.ko.name)
        problem = built.reason or _programs(lab, kernel, root, key, lab.catalog[name])
        warnings = [Check(name="compiler warning", verdict=Verdict.PASS, reason=line) for line in built.warnings]
        lab.run.record(
            kernel,
            name,
            Stage.BUILD,
            Verdict.FAIL if problem else Verdict.PASS,
            problem,
            seconds=time.monotonic() - before if fresh else 0.0,
            checks=warnings,
            log_text=result.log,
        )
        events.emit(lab.run.folder, kernel=kernel, stage="build", module=name, state="fail" if problem else "done", text=problem)
        before = time.monotonic()

    start_time = time.time()
    sources = [lab.sources[entry.name] for entry in entries]
    limits = replace(kbuild.BUILDING, seconds=lab.order.build_limit)
    kbuild.build(root, key, resolved.release, sources, done, cross=resolved.kernel.cross, limits=limits)
    _lab_modules(lab, kernel, root, key)
    return compiled


def _lab_modules(lab: Lab, kernel: str, root: Path, root_key: str) -> None:
    """Build the modules by which the lab gives a kernel hardware that its machine has not."""
    resolved = lab.resolved(kernel)
    wiring = resolved.kernel.vm_gpio
    if wiring and wiring.provider == "simulated":
        sources = discover(copied(REPOSITORY / SIMULATOR_SOURCES))
        for result in kbuild.build(root, root_key, resolved.release, sources, cross=resolved.kernel.cross).values():
            if not result.built.ok:
                raise LabError(f"kernel {kernel}: the lab's own {result.module.name} does not build: {result.built.reason}")
            shutil.copyfile(result.ko, lab.artefacts(kernel) / "lab-modules" / result.ko.name)


def _programs(lab: Lab, kernel: str, root: Path, root_key: str, entry: Module) -> str:
    """Compile a module's user programs in the build root, for its kernel's architecture; why that failed, or nothing."""
    for source in entry.programs:
        program = cache_dir() / "programs" / digest(root_key, source, trees.content(lab.order.tree.folder))
        if not program.exists() and (problem := _program(lab, kernel, root, source, program)):
            return problem
        shutil.copy(program / "program", lab.artefacts(kernel) / "programs" / Path(source).stem)
    return ""


def _program(lab: Lab, kernel: str, root: Path, source: str, target: Path) -> str:
    """Compile one; why that failed, or nothing. What failed is not kept."""
    with working_copy(lab.order.tree.folder) as work:
        gcc = f"{lab.resolved(kernel).kernel.cross}gcc"
        command = [gcc, "-O2", "-Wall", "-Wextra", "-Werror", "-o", "kmodlab-program", source]
        answer = sandbox.run(root, command, work=work, limits=COMPILING)
        if answer.status:
            return f"{source}: {kbuild.failure_reason(answer.log, source)}"
        content = read_regular(work / "kmodlab-program", kbuild.LARGEST)
    with filled(target) as folder:
        (folder / "program").write_bytes(content)
        (folder / "program").chmod(0o755)
    return ""


def sign_modules(lab: Lab, kernel: str) -> bool:
    """Sign what was built with the lab's key and check the signature; True if anything was signed."""
    resolved = lab.resolved(kernel)
    entries = lab.alive(kernel, Stage.SIGN)
    if not entries:
        return False
    key = keys.chosen_key()
    modules = {entry.name: lab.artefacts(kernel) / "modules" / f"{entry.name}.ko" for entry in entries}
    modules |= {ko.name: ko for ko in (lab.artefacts(kernel) / "lab-modules").glob("*.ko")}
    store = cache_dir() / "signed"
    store.mkdir(exist_ok=True)
    signed = {name: store / f"{name}-{digest(ko, key.certificate)}.ko" for name, ko in modules.items()}
    missing = [name for name in signed if not signed[name].exists()]
    signing.sign_modules(lab.build_root(kernel), resolved.release, [modules[name] for name in missing], key)
    for name in missing:
        write_aside(signed[name], modules[name].read_bytes())
    for name, ko in modules.items():
        shutil.copyfile(signed[name], ko)
    for entry in entries:
        lab.run.record(kernel, entry.name, Stage.SIGN, Verdict.PASS)
    return bool(missing)


def boot(lab: Lab, kernel: str) -> bool:
    """Start a kernel's machine; True where it did not run."""
    target = lab.target(kernel)
    was = target.state
    # One that a broken worker left is in a state that nobody knows.
    state = target.restore() if was and kernel in lab.order.kernels else target.start()
    lab.run.note_kernel(kernel, accel=state.accel)
    return was is None


def deploy_to_target(lab: Lab, kernel: str) -> bool:
    """Put what was signed onto a kernel's machine; always a change, because what is there goes with its next boot."""
    deploy(lab, kernel, lab.target(kernel).guest())
    for entry in lab.alive(kernel, Stage.DEPLOY):
        lab.run.record(kernel, entry.name, Stage.DEPLOY, Verdict.PASS)
    return True


def verify(lab: Lab, kernel: str) -> bool:
    """Have workers verify every cell of a kernel, and those again that may have been another's victims. Changes nothing."""
    _work(lab, kernel)
    retrial.settle(lab.run, kernel, partial(_work_alone, lab, kernel))
    return False


def _work_alone(lab: Lab, kernel: str, module: str, afterwards: float) -> None:
    """Verify a module's cell on a target that was just brought back, and watch that for some seconds afterwards."""
    target = lab.target(kernel)
    target.restore()
    deploy(lab, kernel, target.guest())
    _work(lab, kernel, only=module, afterwards=afterwards)


def _work(lab: Lab, kernel: str, *, only: str = "", afterwards: float = 0) -> None:
    """Have a worker verify cells; what it prints is kept in the run's logs."""
    log = lab.run.folder / "logs" / kernel / "pytest.log"
    tests = [REPOSITORY / "tests/verify" / ("test_life_cycle.py" if lab.order.quick else "")]
    tests += [REPOSITORY / "tests/stress"] if lab.order.stress and not only else []
    tests += [REPOSITORY / "tests/retrial"] if only or not lab.order.quick else []
    target = lab.target(kernel).guest()
    command = [
        *(sys.executable, "-m", "pytest", "-p", "kmodlab.verify.plugin", "-p", "no:cacheprovider"),
        *("-v", "--durations=10", f"--timeout={TEST_LIMIT * target.patience:g}"),
        *(f"--rootdir={REPOSITORY}", f"--kmodlab-run={lab.run.folder}", f"--kmodlab-kernel={kernel}"),
        *([f"--kmodlab-only={only}", f"--kmodlab-afterwards={afterwards:g}"] if only else []),
        *(f"--hosts=ssh://{target.name}", f"--ssh-config={target.ssh_config}", *(["--sudo"] if target.become else [])),
        *map(str, tests),
    ]
    with log.open("ab") as output:
        # What a person sets for a pytest of their own would leave out tests here.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
        )
    if answer.returncode not in (0, 1, 5):
        raise LabError(f"kernel {kernel}: the verifying worker broke (pytest status {answer.returncode}); see {log}")


def stop(lab: Lab, kernel: str) -> bool:
    """Stop a kernel's machine; True where it ran."""
    target = lab.target(kernel)
    was = target.state
    target.stop()
    return was is not None


STAGES: dict[str, tuple[Stage, Callable[[Lab, str], bool]]] = {
    "images": (Stage.BUILD, make_images),
    "build": (Stage.BUILD, build_modules),
    "sign": (Stage.SIGN, sign_modules),
    "boot": (Stage.DEPLOY, boot),
    "deploy": (Stage.DEPLOY, deploy_to_target),
    "verify": (Stage.LOAD, verify),
    "stop": (Stage.LOG, stop),
}
"""By name: the stage of a cell that suffers when it breaks, and the work."""
BOARD_WORK: dict[str, Callable[[Lab, str], bool]] = {
    "images": board_work.prepare,
    "build": board_work.build_modules,
    "sign": board_work.sign_modules,
}
"""What is done in another way for a board: it has its own root, and builds there."""


def run_stage(lab: Lab, kernel: str, name: str) -> bool:
    """Run a stage for a kernel; what breaks it is written down for every cell of the kernel before it is raised again."""
    stage, work = STAGES[name]
    if kernel in lab.order.boards:
        work = BOARD_WORK.get(name, work)
    events.emit(lab.run.folder, kernel=kernel, stage=name, state="start")
    try:
        changed = work(lab, kernel)
    except (LabError, OSError) as problem:
        lab.run.break_kernel(kernel, stage, str(problem))
        events.emit(lab.run.folder, kernel=kernel, stage=name, state="fail", text=str(problem))
        raise
    events.emit(lab.run.folder, kernel=kernel, stage=name, state="done")
    return changed
