"""The column of a board: prepared by the roles for real machines, it builds its modules itself."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab.build import build_log
from kmodlab.build.modules import discover
from kmodlab.build.trees import copied
from kmodlab.ground import process
from kmodlab.ground.cache import digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.machine.board import BoardTarget
from kmodlab.plan.boards import ResolvedBoard
from kmodlab.plan.catalog import Module
from kmodlab.plan.wiring import Wiring
from kmodlab.results.contract import Stage, Verdict
from kmodlab.run.column import SIMULATOR, Column
from kmodlab.run.playbook import play
from kmodlab.sign import keys, signing

FOLDER = "/var/lib/kmodlab"
"""Where a board keeps sources and what it built of them."""
FETCH_LIMIT = 300.0
"""Seconds that bringing all built files over may take."""
PLAY_LIMIT = 3600.0
"""Seconds that a playbook may take on a board, beside what its builds may."""
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


@dataclass(frozen=True)
class BoardColumn(Column):
    """A kernel that runs on a board: prepared by the roles for real machines, its modules built there."""

    @property
    def resolved(self) -> ResolvedBoard:
        """The board, and what runs on it."""
        return self.order.boards[self.kernel]

    @property
    def release(self) -> str:
        return self.resolved.release

    @property
    def remark(self) -> str:
        return f"(board {self.resolved.board.host}, {self.resolved.distribution})"

    @property
    def wiring(self) -> Wiring | None:
        return self.resolved.board.board_gpio

    @property
    def key_known(self) -> bool:
        return False

    @property
    def target(self) -> BoardTarget:
        return BoardTarget(self.resolved.board, self.console, self.release)

    def prepare(self) -> bool:
        """Give the board headers and a compiler, by the roles that do so for any machine. True: Ansible's log has the changes."""
        self.target.start()
        self._play("board_prepare", {})
        with self.target.guest() as guest:
            self.run.note_kernel(self.kernel, compiler=guest.sh(ASK_COMPILER, check=False).stdout.strip() or "unknown")
        return True

    def build(self) -> bool:
        """Have the board build its modules, each by itself, and bring them over."""
        self.make_folders()
        entries = self.buildable()
        folders = {self.order.sources[entry.name].folder: None for entry in entries}
        for folder in folders:
            here = [entry for entry in entries if self.order.sources[entry.name].folder == folder]
            built = self._build(folder, here)
            self._fetch(built.modules, "modules")
            good = [Path(source).stem for source, problem in built.programs.items() if not problem]
            self._fetch([f"{built.folder}/{name}" for name in good], "programs")
            for entry in here:
                self._built(entry, built)
        self.find_needs()
        if self.simulated:
            built = self._build(SIMULATOR, [])
            if not built.modules:
                raise LabError(f"board {self.kernel}: the lab's own GPIO chip does not build there: {built.output}")
            self._fetch(built.modules, "lab-modules")
        return True

    def sign(self) -> bool:
        """On this machine: the key goes nowhere."""
        entries = self.alive(Stage.SIGN)
        signed = signing.sign_here([*(self.ko(entry.name) for entry in entries), *self.lab_modules], keys.chosen_key())
        for entry in entries:
            self.record(entry.name, Stage.SIGN, Verdict.PASS)
        return bool(signed)

    @property
    def machine(self) -> Path:
        return self.target.folder

    def leave(self) -> None:
        if not self.kept:
            self.target.stop()

    def _build(self, folder: Path, entries: list[Module]) -> BuiltThere:
        names = [entry.name for entry in entries] or [module.name for module in discover(copied(folder))]
        origin = self.order.tree.named(folder) if entries else folder
        with tempfile.TemporaryDirectory(prefix="kmodlab-board-") as scratch:
            answer = Path(scratch) / "built.json"
            variables: dict[str, object] = {
                "module_build_source": str(folder),
                "module_build_name": "modules",
                "module_build_modules": names,
                "module_build_needs": {entry.name: entry.needs for entry in entries},
                "module_build_may_fail": names,
                "module_build_folder": f"{FOLDER}/{origin.name}-{digest(str(origin), length=8)}",
                "board_build_programs": [source for entry in entries for source in entry.programs],
                "board_build_answer": str(answer),
            }
            self._play("board_build", variables)
            return BuiltThere.model_validate_json(answer.read_text())

    def _built(self, entry: Module, there: BuiltThere) -> None:
        log = there.output.get(entry.name, "")
        made = any(Path(path).stem == entry.name for path in there.modules)
        problem = "" if made else build_log.failure_reason(log, entry.name)
        for source in entry.programs:
            if not problem and there.programs.get(source):
                problem = f"{source}: {build_log.failure_reason(there.programs[source], source)}"
        self.built(entry.name, problem, warnings=build_log.warnings(log), log=log)

    def _fetch(self, paths: list[str], part: str) -> None:
        """Bring files of the board over in one go; they land in one folder under their own names. Nothing else that comes is
        taken.
        """
        if not paths:
            return
        wanted = {Path(path).name for path in paths}
        command = self.target.guest().command(f"tar -c -P -- {' '.join(map(shlex.quote, paths))}")
        try:
            answer = process.run(command, seconds=FETCH_LIMIT, most=LARGEST)
            if answer.status:
                raise LabError(f"board {self.kernel}: what it built cannot be brought over: {answer.last_word}")
            with tarfile.open(fileobj=BytesIO(answer.output)) as tar:
                for member in tar:
                    name, content = Path(member.name).name, tar.extractfile(member) if member.isreg() else None
                    if content and name in wanted:
                        write_aside(self.folder / part / name, content.read())
                        (self.folder / part / name).chmod(member.mode & 0o755 | 0o600)
        except (subprocess.TimeoutExpired, tarfile.TarError) as problem:
            raise LabError(f"board {self.kernel}: what it built cannot be brought over: {problem}") from problem

    def _play(self, name: str, variables: dict[str, object]) -> None:
        """Run a playbook on the board, as its inventory says; LabError with Ansible's own word where it fails."""
        log = self.log(f"{name}.log")
        status = play(
            name,
            self.resolved.inventory,
            log,
            *("--limit", self.kernel),
            *("--ssh-common-args", f"-F {self.target.guest().ssh_config}", "-e", json.dumps(variables)),
            seconds=PLAY_LIMIT + len(self.modules) * self.order.manner.build_limit,
        )
        if status:
            said = re.findall(r"^\s*msg: (.*)$|^ERROR! (.*)$", log.read_text(), re.MULTILINE)
            reason = next((word for match in reversed(said) for word in match if word), f"status {status}")
            raise LabError(f"board {self.kernel}: playbooks/{name}.yml failed: {reason} (all of it: {log})")
