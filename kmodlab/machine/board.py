"""A board as a target: asked what runs on it, brought up, brought back, left alone. `kmodlab.plan.boards` has the boards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab.ground import process
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import ssh_quoted, write_aside
from kmodlab.ground.process import Ended
from kmodlab.guest.shell import MODULES, Guest, GuestLostError
from kmodlab.machine.lab_machine import CLOSED
from kmodlab.machine.labgrid import Place
from kmodlab.machine.runtime import runtime_dir
from kmodlab.plan.boards import Board, ResolvedBoard
from kmodlab.results.contract import one_line

MACHINES: dict[str, tuple[str, ...]] = {"x86_64": ("x86_64",), "arm64": ("aarch64",), "armhf": ("armv7l", "armv8l")}
"""What `uname -m` says, by architecture."""
ASK = "uname -r; uname -m; . /etc/os-release; echo $ID-$VERSION_ID"
ASK_BOOT = "cat /proc/sys/kernel/random/boot_id"
WORD = re.compile(r"[A-Za-z0-9][\w.+~:-]{0,99}")
"""What a release, an architecture or a distribution may look like."""
ASK_LIMIT = 20.0
"""Seconds in which a board that works answers a trivial command over a connection of its own."""
REBOOT = "timeout 10 sync; echo b >/proc/sysrq-trigger"
LIKE_A_VM = "cd /proc/sys/kernel; echo 5 >panic; [ ! -e hung_task_timeout_secs ] || echo 15 >hung_task_timeout_secs"
"""Until its next boot: a panic reboots it, and a blocked task is told of as soon as on the lab's own machines."""


LEFT_LOADED = f"""cd {MODULES} 2>/dev/null || exit 0
for each in *.ko; do [ ! -e "/sys/module/$(echo "${{each%.ko}}" | tr - _)/initstate" ] || echo "$each"; done"""
"""Prints those modules of the run before that the board still holds."""


class BoardState(BaseModel):
    """A board that answers."""

    model_config = ConfigDict(frozen=True)

    boot: str
    """Differs with each boot."""
    accel: str = "hardware"


def ask_boards(boards: list[Board], inventory: Path) -> dict[str, ResolvedBoard | LabError]:
    """What runs on each board, all asked at once. One that does not answer has its LabError as value: others still run."""

    def one(board: Board) -> ResolvedBoard | LabError:
        target = BoardTarget(board, Path(os.devnull))
        try:
            return target.ask(inventory.absolute())
        except LabError as problem:
            target.stop()
            return problem

    with ThreadPoolExecutor(max_workers=len(boards) or 1) as pool:
        return dict(zip([board.id for board in boards], pool.map(one, boards), strict=True))


@dataclass(frozen=True)
class BoardTarget:
    """A board as a run uses it: beside `Vm`, whose interface it has."""

    board: Board
    console: Path
    """The file that takes what its console says, if it has a place."""
    release: str = ""
    """What must run on it; "": whatever does."""

    @property
    def folder(self) -> Path:
        return runtime_dir() / "boards" / self.board.id

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def place(self) -> Place | None:
        """Where its power is controlled."""
        return Place(self.board.board_place) if self.board.board_place else None

    @property
    def emulated(self) -> None:
        """The wires of its chips are real."""

    @property
    def state(self) -> BoardState | None:
        """None when it does not answer."""
        return self._state(self._ssh(ASK_BOOT))

    @staticmethod
    def _state(answer: Ended | None) -> BoardState | None:
        return BoardState(boot=one_line(answer.text)) if answer and answer.status == 0 else None

    def ask(self, inventory: Path) -> ResolvedBoard:
        """What runs on it; where it does not answer, its place is power-cycled first. LabError."""
        self._bring_up()
        answer = self._ssh(ASK)
        words = answer.text.split() if answer else []
        if len(words) != 3 or not all(map(WORD.fullmatch, words)):
            raise LabError(f"board {self.board.id} ({self.board.host}) does not say what runs on it: {self._said(answer)}")
        release, machine, distribution = words
        if machine not in MACHINES[self.board.board_arch]:
            raise LabError(f"board {self.board.id} is {machine}, not {self.board.board_arch}: mend its board_arch in {inventory}")
        return ResolvedBoard(board=self.board, inventory=inventory, release=release, distribution=distribution)

    def start(self) -> BoardState:
        """Have it answer, with the kernel that the run was planned for. Does not reboot one that does."""
        state = self._bring_up()
        self._record()
        with self.guest() as guest:
            try:
                release = guest.release
                guest.sh(LIKE_A_VM)
            except (GuestLostError, AssertionError) as problem:
                raise LabError(
                    f"board {self.board.id}: no root on it: {str(problem).splitlines()[0]}", hint="see docs/boards.md"
                ) from problem
        if self.release not in ("", release):
            raise LabError(f"board {self.board.id} runs {release} now, not {self.release}: start another run")
        write_aside(self.folder / "boot", state.boot)
        return state

    def fresh(self) -> BoardState:
        """Bring it up; where a run that was stopped has left a module loaded, bring it back."""
        state = self.start()
        with self.guest() as guest:
            left = guest.sh(LEFT_LOADED).stdout.strip()
        return self.restore() if left else state

    def restore(self) -> BoardState:
        """Bring it back after something fatal: by a power cycle where it has a place, else by a reboot."""
        self._forget_connection()
        if self.place:
            self.place.cycle_power()
        elif self.state:
            self._ssh(self._as_root(REBOOT))
        boot = self.folder / "boot"
        self._await_boot("it was power-cycled" if self.place else "a reboot", boot.read_text() if boot.exists() else "")
        return self.start()

    def stop(self) -> None:
        """Leave it alone: it runs on; its place is free for others."""
        self._forget_connection()
        if self.place:
            self._stop_recording()
            with suppress(LabError):  # a labgrid that is gone keeps nothing
                self.place.release()

    def guest(self) -> Guest:
        """The system that runs on it."""
        return Guest(self.board.host, self._written_ssh_config(), self.board.board_arch, become=self.board.ansible_become)

    def _bring_up(self) -> BoardState:
        if self.place:
            self.place.acquire()
        answer = self._ssh(ASK_BOOT)
        if state := self._state(answer):
            return state
        if not self.place:
            raise LabError(
                f"board {self.board.id} ({self.board.host}) does not answer: {self._said(answer)}", hint="see docs/boards.md"
            )
        self.place.cycle_power()
        return self._await_boot("it was power-cycled", "")

    def _await_boot(self, event: str, before: str) -> BoardState:
        """Wait until another boot than the one before answers."""
        limit = self.board.board_boot_limit
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if (state := self.state) and state.boot != before:
                return state
            time.sleep(1)  # nothing tells when a board's network is up
        raise LabError(
            f"board {self.board.id} did not come back within {limit:.0f} s after {event}", hint=f"its console: {self.console}"
        )

    def _as_root(self, script: str) -> str:
        return self.guest().command_line(script)

    def _ssh(self, script: str) -> Ended | None:
        """Run one command over a connection of its own; None where it does not end in time."""
        command = ["ssh", "-F", str(self._written_ssh_config()), "-o", "ControlPath=none", self.board.host, "--", script]
        with suppress(subprocess.TimeoutExpired):
            return process.run(command, seconds=ASK_LIMIT)
        return None

    @staticmethod
    def _said(answer: Ended | None) -> str:
        return one_line(answer.last_word) if answer else f"no word within {ASK_LIMIT:.0f} s"

    def _written_ssh_config(self) -> Path:
        """Our settings first, as SSH takes the first it finds; then yours, which know the way, and this machine's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        board = self.board
        options = {
            "User": board.ansible_user,
            "Port": board.ansible_port or "",
            "IdentityFile": board.ansible_ssh_private_key_file and ssh_quoted(Path(board.ansible_ssh_private_key_file)),
            "BatchMode": "yes",
            "ControlMaster": "auto",
            "ControlPath": ssh_quoted(self.folder / "ssh"),
            "ControlPersist": "600",
            "ServerAliveInterval": "2",
            "ServerAliveCountMax": "3",
            "ConnectTimeout": "5",
            "LogLevel": "ERROR",
            **CLOSED,
        }
        lines = [f"  {key} {value}" for key, value in options.items() if value]
        includes = [f'Include "{path}"' for path in (Path(board.board_ssh_config).expanduser(), "/etc/ssh/ssh_config")]
        write_aside(self.ssh_config, "\n".join([f"Host {board.host}", *lines, "Match all", *includes, ""]))
        return self.ssh_config

    def _forget_connection(self) -> None:
        """A connection to a machine that is gone would only be waited for."""
        command = ["ssh", "-F", str(self._written_ssh_config()), "-O", "exit", self.board.host]
        with suppress(subprocess.TimeoutExpired):
            process.run(command, seconds=ASK_LIMIT)
        (self.folder / "ssh").unlink(missing_ok=True)

    def _record(self) -> None:
        """Have the console recorded, by a process that outlives this stage of the run."""
        recorder = self.folder / "console.pid"
        if self.place and not recorder.exists():
            self.console.parent.mkdir(parents=True, exist_ok=True)
            write_aside(recorder, str(self.place.record_console(self.console).pid))

    def _stop_recording(self) -> None:
        recorder = self.folder / "console.pid"
        if recorder.exists():
            pid = int(recorder.read_text())
            recorder.unlink()
            with suppress(OSError):  # it may have ended by itself
                if b"labgrid" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.killpg(pid, signal.SIGTERM)
