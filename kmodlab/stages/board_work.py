"""What a run does in another way for a board: it is prepared by the roles for real machines, and builds its modules itself."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab.build import kbuild
from kmodlab.build.modules import discover
from kmodlab.build.trees import copied
from kmodlab.ground import process
from kmodlab.ground.cache import REPOSITORY, digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.plan.catalog import Module
from kmodlab.plan.wiring import SIMULATOR_SOURCES
from kmodlab.results import events
from kmodlab.results.contract import Check, Stage, Verdict
from kmodlab.run.lab import Lab
from kmodlab.sign import keys, signing

FOLDER = "/var/lib/kmodlab"
"""Where a board keeps sources and what it built of them."""
FETCH_LIMIT = 300.0
"""Seconds that bringing all built files over may take."""
LARGEST = 1 << 30
"""Bytes of all built files."""
ASK_COMPILER = (
    'sed -n \'s/^CONFIG_CC_VERSION_TEXT="\\?\\([^"]*\\)"\\?$/\\1/p\' /lib/modules/$(uname -r)/build/include/config/auto.conf'
)


class BuiltThere(BaseModel):
    """What playbooks/board_build.yml says of a folder's builds, and where they are on the board."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modules: list[str] = []
    """Paths of the modules that were built."""
    output: dict[str, str] = {}
    """What make said, by module."""
    programs: dict[str, str] = {}
    """Why a program could not be compiled, or nothing, by its source."""
    folder: str = ""
    """Of the programs."""


def prepare(lab: Lab, kernel: str) -> bool:
    """Give a board headers and compiler, by the roles that do so for any machine. True: what they changed is in Ansible's log."""
    lab.target(kernel).start()
    _playbook(lab, kernel, "board_prepare", {})
    with lab.target(kernel).guest() as guest:
        lab.run.note_kernel(kernel, compiler=guest.sh(ASK_COMPILER, check=False).stdout.strip() or "unknown")
    return True


def build_modules(lab: Lab, kernel: str) -> bool:
    """Have a board build its modules, each by itself, and bring them over; each gets its own verdict."""
    for part in ("modules", "programs", "lab-modules"):
        (lab.artefacts(kernel) / part).mkdir(parents=True, exist_ok=True)
    entries = lab.buildable(kernel)
    folders = {lab.sources[entry.name].folder: None for entry in entries}
    for folder in folders:
        here = [entry for entry in entries if lab.sources[entry.name].folder == folder]
        built = _build(lab, kernel, folder, here)
        _fetch(lab, kernel, built.modules, "modules")
        good = [Path(source).stem for source, problem in built.programs.items() if not problem]
        _fetch(lab, kernel, [f"{built.folder}/{name}" for name in good], "programs")
        for entry in here:
            _record(lab, kernel, entry, built)
    wiring = lab.wiring(kernel)
    if wiring and wiring.provider == "simulated":
        built = _build(lab, kernel, REPOSITORY / SIMULATOR_SOURCES, [])
        if not built.modules:
            raise LabError(f"board {kernel}: the lab's own GPIO chip does not build there: {built.output}")
        _fetch(lab, kernel, built.modules, "lab-modules")
    return True


def sign_modules(lab: Lab, kernel: str) -> bool:
    """Sign what was built with the lab's key, on this machine: the key goes nowhere. True if anything was signed."""
    entries = lab.alive(kernel, Stage.SIGN)
    modules = [lab.artefacts(kernel) / "modules" / f"{entry.name}.ko" for entry in entries]
    signed = signing.sign_here([*modules, *(lab.artefacts(kernel) / "lab-modules").glob("*.ko")], keys.chosen_key())
    for entry in entries:
        lab.run.record(kernel, entry.name, Stage.SIGN, Verdict.PASS)
    return bool(signed)


def _build(lab: Lab, kernel: str, folder: Path, entries: list[Module]) -> BuiltThere:
    names = [entry.name for entry in entries] or [module.name for module in discover(copied(folder))]
    origin = lab.order.tree.named(folder) if entries else folder
    with tempfile.TemporaryDirectory(prefix="kmodlab-board-") as scratch:
        answer = Path(scratch) / "built.json"
        variables: dict[str, object] = {
            "module_build_source": str(folder),
            "module_build_modules": names,
            "module_build_needs": {entry.name: entry.needs for entry in entries},
            "module_build_may_fail": names,
            "module_build_folder": f"{FOLDER}/{origin.name}-{digest(str(origin), length=8)}",
            "board_build_programs": [source for entry in entries for source in entry.programs],
            "board_build_answer": str(answer),
        }
        _playbook(lab, kernel, "board_build", variables)
        return BuiltThere.model_validate_json(answer.read_text())


def _record(lab: Lab, kernel: str, entry: Module, built: BuiltThere) -> None:
    log = built.output.get(entry.name, "")
    problem = "" if any(Path(path).stem == entry.name for path in built.modules) else kbuild.failure_reason(log, entry.name)
    for source in entry.programs:
        if not problem and built.programs.get(source):
            problem = f"{source}: {kbuild.failure_reason(built.programs[source], source)}"
    warnings = kbuild.warnings(log)
    lab.run.record(
        kernel,
        entry.name,
        Stage.BUILD,
        Verdict.FAIL if problem else Verdict.PASS,
        problem,
        checks=[Check(name="compiler warning", verdict=Verdict.PASS, reason=line) for line in warnings],
        log_text=log,
    )
    events.emit(
        lab.run.folder, kernel=kernel, stage="build", module=entry.name, state="fail" if problem else "done", text=problem
    )


def _fetch(lab: Lab, kernel: str, paths: list[str], part: str) -> None:
    """Bring files of a board over in one go; they land in one folder under their own names. Nothing else that comes is taken."""
    if not paths:
        return
    wanted = {Path(path).name for path in paths}
    command = lab.target(kernel).guest().command(f"tar -c -P -- {' '.join(map(shlex.quote, paths))}")
    try:
        answer = process.run(command, seconds=FETCH_LIMIT, most=LARGEST)
        if answer.status:
            raise LabError(f"board {kernel}: what it built cannot be brought over: {answer.last_word}")
        with tarfile.open(fileobj=BytesIO(answer.output)) as tar:
            for member in tar:
                name, content = Path(member.name).name, tar.extractfile(member) if member.isreg() else None
                if content and name in wanted:
                    write_aside(lab.artefacts(kernel) / part / name, content.read())
                    (lab.artefacts(kernel) / part / name).chmod(member.mode & 0o755 | 0o600)
    except (subprocess.TimeoutExpired, tarfile.TarError) as problem:
        raise LabError(f"board {kernel}: what it built cannot be brought over: {problem}") from problem


def _playbook(lab: Lab, kernel: str, name: str, variables: dict[str, object]) -> None:
    """Run a playbook on a board, as its inventory says; LabError with Ansible's own word where it fails."""
    board = lab.order.boards[kernel]
    target = lab.target(kernel).guest()
    log = lab.run.folder / "logs" / kernel / f"{name}.log"
    command = [
        *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(board.inventory), "--limit", kernel),
        *("--ssh-common-args", f"-F {target.ssh_config}", "-e", json.dumps(variables)),
        str(REPOSITORY / "playbooks" / f"{name}.yml"),
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    with log.open("ab") as output:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, env=environment, cwd=REPOSITORY
        )
    if answer.returncode:
        said = re.findall(r"^\s*msg: (.*)$|^ERROR! (.*)$", log.read_text(), re.MULTILINE)
        reason = next((word for match in reversed(said) for word in match if word), f"status {answer.returncode}")
        raise LabError(f"board {kernel}: playbooks/{name}.yml failed: {reason} (all of it: {log})")
