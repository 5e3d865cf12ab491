"""A board's place in a labgrid: its power, and its console. labgrid's own client does it all, so that any labgrid will do.

The client on PATH is taken, else the one that kmodlab was installed with. LG_COORDINATOR says where its coordinator is, as for
any of its users.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kmodlab.ground.errors import LabError
from kmodlab.machine.qemu import capped

CLIENT = "labgrid-client"
CLIENT_LIMIT = 60.0
"""Seconds that an order to labgrid may take; power-cycling has a pause of its own in it."""


@dataclass(frozen=True)
class Place:
    """A place by its name. LabError, naming it, wherever labgrid refuses."""

    name: str

    def acquire(self) -> None:
        """Have it for this user alone; does nothing where it is ours."""
        answer = self._client("acquire")
        if answer.returncode and not self._is_ours():
            raise LabError(f"labgrid place {self.name} cannot be acquired: {self._said(answer)}")

    def release(self) -> None:
        """Give it back, if it is ours."""
        if self._is_ours():
            self._client("release")

    def cycle_power(self) -> None:
        """Turn its power off and on again."""
        answer = self._client("power", "cycle")
        if answer.returncode:
            raise LabError(f"labgrid place {self.name} cannot be power-cycled: {self._said(answer)}")

    def record_console(self, file: Path) -> subprocess.Popen[bytes]:
        """Add all that the board's console says from now on to a file, until the process is ended."""
        with file.open("ab") as output:
            return subprocess.Popen(
                [*capped(), _client(), "--place", self.name, "console", "--loop", "--listenonly"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _is_ours(self) -> bool:
        # The power's state is told to nobody but who has the place; a place without power control has no use here.
        return self._client("power", "get").returncode == 0

    def _client(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [_client(), "--place", self.name, *words]
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=CLIENT_LIMIT
            )
        except subprocess.TimeoutExpired as problem:
            raise LabError(f"labgrid place {self.name}: `{' '.join(words)}` did not end within {CLIENT_LIMIT:.0f} s") from problem

    def _said(self, answer: subprocess.CompletedProcess[str]) -> str:
        lines = (answer.stderr or answer.stdout).strip().splitlines() or [f"{CLIENT} ended with status {answer.returncode}"]
        return f"{lines[-1]} (coordinator: {os.environ.get('LG_COORDINATOR', 'the default, on this machine')})"


def _client() -> str:
    found = shutil.which(CLIENT, path=f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}")
    if not found:
        mend = "run `make setup`, or `pip install 'kmodlab[labgrid]'`"
        raise LabError(f"{CLIENT} not found: a board with a board_place needs labgrid", hint=mend)
    return found
