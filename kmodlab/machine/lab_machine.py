"""What the machines that the lab starts itself have in common: a process of ours, whose guest SSH reaches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from kmodlab.debian.roots import BootImage, ssh_key
from kmodlab.ground.files import ssh_quoted, write_aside
from kmodlab.guest.shell import Guest
from kmodlab.machine.runtime import CONNECTION, STATE, VmState, state_in, stop_in
from kmodlab.plan.kernels import Kernel

CLOSED = {
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "Tunnel": "no",
    "PermitLocalCommand": "no",
}
"""Of SSH's settings, those that would give a machine under test something of ours, or have it reach something."""


@dataclass(frozen=True)
class LabMachine:
    """A machine of kernel `kernel` whose sockets and state are in `folder` (short: a socket's path has 107 bytes)."""

    kernel: Kernel
    image: BootImage
    folder: Path
    console: Path
    """The file that takes everything its console ever says, restarts included."""

    @property
    def ssh_config(self) -> Path:
        """The file that tells SSH how it is reached, under its kernel's id."""
        return self.folder / "ssh_config"

    @property
    def state(self) -> VmState | None:
        """None when it is not running."""
        return state_in(self.folder)

    def start(self) -> VmState:
        """Bring it up, until it answers. Does nothing to one that runs. LabError where it does not come."""
        raise NotImplementedError

    def fresh(self) -> VmState:
        """Bring it up; one that a broken worker left is in a state that nobody knows, and thrown away."""
        return self.restore()

    def restore(self) -> VmState:
        """Throw it away and bring back the state right after its boot."""
        self.stop()
        return self.start()

    def stop(self) -> None:
        """End it, whatever state it is in; done when its process is gone."""
        stop_in(self.folder)

    def guest(self) -> Guest:
        """The system that runs in it."""
        return Guest(self.kernel.id, self.ssh_config, self.kernel.kernel_arch, patience=self.kernel.vm_patience)

    def _note(self, state: VmState, **news: float) -> VmState:
        """Keep what others need to know of it."""
        state = state.model_copy(update=news)
        write_aside(self.folder / STATE, state.model_dump_json())
        return state

    def _write_ssh_files(self, known_as: str, way: dict[str, object]) -> None:
        """Tell SSH the way there, and by which name its host key is known."""
        known = self.folder / "known_hosts"
        write_aside(known, f"{known_as} {self.image.host_key}\n")
        options = {
            "User": "root",
            "IdentityFile": ssh_quoted(ssh_key()),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": ssh_quoted(known),
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": "ssh-ed25519",
            "ControlMaster": "auto",
            # A name of its own for each start: the connection to what was there before takes its name away when it ends.
            "ControlPath": ssh_quoted(self.folder / f"{CONNECTION}{token_hex(3)}"),
            "ServerAliveInterval": "2",
            "ServerAliveCountMax": math.ceil(3 * self.kernel.vm_patience),
            "LogLevel": "ERROR",
            **way,
            **CLOSED,
        }
        lines = "".join(f"  {key} {value}\n" for key, value in options.items())
        write_aside(self.ssh_config, f"Host {self.kernel.id}\n{lines}")

    @contextmanager
    def _stopped_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.stop()
            raise
