"""User-Mode Linux as a target: a kernel that runs as a program, started anew where a VM is restored. It takes a second or two."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass

from kmodlab.ground import process
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import tail, write_aside
from kmodlab.machine.lab_machine import LabMachine
from kmodlab.machine.runtime import VmState, wait_until
from kmodlab.machine.uml_process import END, INSIDE, LINE, WANTED, Wanted
from kmodlab.plan.kernels import Kernel
from kmodlab.results.contract import one_line

ACCEL = "uml"
"""What the results say of how it runs."""
CMDLINE = "quiet noreboot log_buf_len=4M panic=-1 kasan_multi_shot sysctl.kernel.hung_task_timeout_secs=15"
"""As a VM's: a log that a slow reader misses nothing of, and a panic that ends it. KASAN would report its first find only."""
CHANNELS = "con=null ssl=null"
"""Of its other consoles and lines: none is opened, nor a program started for one."""
START_LIMIT = 30.0
"""Seconds in which its process must be there."""
SAID = "uml.stderr"
"""The file of what its process says where it cannot begin."""
TAKE_LINE = (
    "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
    "socket.send_fds(socket.socket(fileno=1),[b'.'],socket.recv_fds(s,1,1)[1])"
)
"""Gives SSH the serial line as a descriptor (ProxyUseFdpass of ssh_config(5))."""


@dataclass(frozen=True)
class Uml(LabMachine):
    """A kernel of the architecture `um`, which is started anew where a VM is restored."""

    def start(self) -> VmState:
        """Start the kernel, and wait until it answers. Does nothing to one that runs."""
        if state := self.state:
            return state
        self.folder.mkdir(parents=True, exist_ok=True)
        take = shlex.join([sys.executable, "-ISc", TAKE_LINE, str(self.folder / LINE)])
        self._write_ssh_files(
            self.kernel.id,
            {
                "HostKeyAlias": self.kernel.id,
                "ProxyCommand": take.replace("%", "%%"),
                "ProxyUseFdpass": "yes",
                "ControlPersist": "yes",
                "ConnectTimeout": math.ceil(self.kernel.vm_boot_limit),
            },
        )
        started = time.monotonic()
        process = self._launch()
        state = VmState(pid=process.pid, port=0, accel=ACCEL, restored=False)
        self._note(state)
        with self._stopped_on_error():
            wait_until(
                lambda: (self.folder / LINE).exists() or process.poll() is not None,
                START_LIMIT,
                f"kernel {self.kernel.id}: its process does not begin",
            )
            self._await_ssh()
        took = time.monotonic() - started
        return self._note(state, seconds=took, boot_seconds=took)

    def _launch(self) -> subprocess.Popen[bytes]:
        """Start its process, which outlives this one."""
        files = {"linux": self.image.kernel, "initrd": self.image.initrd, "root.erofs": self.image.root}
        wanted = Wanted(files=files, words=self.cmdline.split(), memory=self.kernel.vm_memory, console=self.console)
        for name in (END, SAID, LINE, f"{LINE}.new"):
            (self.folder / name).unlink(missing_ok=True)
        write_aside(self.folder / WANTED, wanted.model_dump_json())
        # Its folder is on its command line, by which its process is known again.
        command = [sys.executable, "-m", "kmodlab.machine.uml_process", str(self.folder)]
        with (self.folder / SAID).open("wb") as said:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True, cwd=self.folder
            )

    @property
    def cmdline(self) -> str:
        """The kernel's command line."""
        drives = f"initrd={INSIDE}/initrd ubd0r={INSIDE}/root.erofs"
        return f"{drives} {CHANNELS} {CMDLINE} {self.kernel.vm_cmdline}".rstrip()

    @property
    def emulated(self) -> None:
        """Nobody holds the wires of its chips from outside."""

    def _await_ssh(self) -> None:
        """Wait until a command runs in it: on the one connection that there is, and that stays open for all who come next."""
        limit = self.kernel.vm_boot_limit
        try:
            answer = process.run(["ssh", "-F", str(self.ssh_config), self.kernel.id, "true"], seconds=limit)
        except subprocess.TimeoutExpired as problem:
            raise LabError(f"{self._silent} (waited {limit:.0f} s)") from problem
        if answer.status:
            raise LabError(f"{self._silent}: {self._last_word() or answer.last_word}")

    @property
    def _silent(self) -> str:
        return f"kernel {self.kernel.id} does not answer; its console is {self.console}"

    def _last_word(self) -> str:
        """What became of its process, where it has ended."""
        for name in (END, SAID):
            path = self.folder / name
            if path.exists() and (lines := tail(path, 4096).strip().splitlines()):
                return one_line(lines[-1])
        return ""


def insist(kernel: Kernel) -> None:
    """LabError where this machine cannot run it: it is a program, of one architecture."""
    if kernel.foreign:
        raise LabError(
            f"kernel {kernel.id}: User-Mode Linux is a program of x86_64 machines", hint="leave it out of KERNELS here"
        )
