"""A real board: a machine that somebody else installed, and that SSH reaches. `inventories/boards/hosts.yml` names them.

Beside Ansible's own variables (ansible_host, ansible_user, ansible_port, ansible_ssh_private_key_file, ansible_become) and those
of the roles that prepare it (kernel_headers_packages), a board has:

    board_arch         x86_64, arm64 or armhf
    board_gpio         where its buttons and LED are (kmodlab/wiring.py); without it, modules that need GPIO lines are skipped
    board_offers       other hardware that modules may ask for
    board_place        its place in a labgrid, which then controls its power and records its console
    board_boot_limit   seconds until it must answer after a reboot or a power cycle
    board_ssh_config   your own SSH configuration, which knows the way to it
"""

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
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kmodlab import process
from kmodlab.cache import REPOSITORY, ssh_quoted, write_aside
from kmodlab.errors import LabError
from kmodlab.guest import Guest, GuestLostError
from kmodlab.inventory import hosts_of, validated
from kmodlab.kernels import Arch
from kmodlab.place import Place
from kmodlab.process import Ended
from kmodlab.results import one_line
from kmodlab.vm import CLOSED, runtime_dir
from kmodlab.wiring import Wiring

INVENTORY = REPOSITORY / "inventories/boards/hosts.yml"
MACHINES: dict[str, tuple[str, ...]] = {"x86_64": ("x86_64",), "arm64": ("aarch64",), "armhf": ("armv7l", "armv8l")}
"""What `uname -m` says, by architecture."""
ASK = "uname -r; uname -m; . /etc/os-release; echo $ID-$VERSION_ID"
WORD = re.compile(r"[A-Za-z0-9][\w.+~:-]{0,99}")
"""What a release, an architecture or a distribution may look like."""
ASK_LIMIT = 20.0
"""Seconds in which a board that works answers a trivial command over a connection of its own."""
REBOOT = "timeout 10 sync; echo b >/proc/sysrq-trigger"
LIKE_A_VM = "cd /proc/sys/kernel; echo 5 >panic; [ ! -e hung_task_timeout_secs ] || echo 15 >hung_task_timeout_secs"
"""Until its next boot: a panic reboots it, and a blocked task is told of as soon as on the lab's own machines."""


class Board(BaseModel):
    """One board of the inventory; the fields' meanings stand at the top of this file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    board_arch: Arch
    board_gpio: Wiring | None = None
    board_offers: tuple[str, ...] = ()
    board_place: str = ""
    board_boot_limit: float = Field(default=300, gt=0)
    board_ssh_config: str = "~/.ssh/config"
    ansible_host: str = ""
    ansible_user: str = ""
    ansible_port: int | None = None
    ansible_ssh_private_key_file: str = ""
    ansible_become: bool = False

    @property
    def host(self) -> str:
        """What SSH is told to connect to."""
        return self.ansible_host or self.id

    @property
    def offers(self) -> set[str]:
        """All hardware that modules may ask for."""
        return {*self.board_offers, *(["gpio"] if self.board_gpio else [])}


class ResolvedBoard(BaseModel):
    """A board and what runs on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    board: Board
    inventory: Path
    """The file that it stands in, for Ansible."""
    release: str
    """As `uname -r` says it."""
    distribution: str
    """debian-13, raspbian-12."""

    @property
    def line(self) -> str:
        """The upstream line of its kernel, "6.12"."""
        found = re.match(r"\d+\.\d+", self.release)
        return found[0] if found else "0.0"


class BoardState(BaseModel):
    """A board that answers."""

    model_config = ConfigDict(frozen=True)

    boot: str
    """Differs with each boot."""
    accel: str = "hardware"


def load_boards(path: Path = INVENTORY) -> dict[str, Board]:
    """The boards of an inventory by id."""
    return {name: _board(path, name, values) for name, values in hosts_of(path).items()}


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


def _board(path: Path, name: str, values: dict[str, Any]) -> Board:
    ours = {key: value for key, value in values.items() if key in Board.model_fields or key.startswith("board_")}
    return validated(path, name, Board, {"id": name, **ours})


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
    def state(self) -> BoardState | None:
        """None when it does not answer."""
        answer = self._ssh("cat /proc/sys/kernel/random/boot_id")
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
                    f"board {self.board.id}: no root on it: {str(problem).splitlines()[0]}; see docs/boards.md"
                ) from problem
        if self.release not in ("", release):
            raise LabError(f"board {self.board.id} runs {release} now, not {self.release}: start another run")
        write_aside(self.folder / "boot", state.boot)
        return state

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
        if state := self.state:
            return state
        if not self.place:
            raise LabError(
                f"board {self.board.id} ({self.board.host}) does not answer: {self._said(self._ssh('true'))}; see docs/boards.md"
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
        raise LabError(f"board {self.board.id} did not come back within {limit:.0f} s after {event}; its console: {self.console}")

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
