"""One virtual machine: started, saved, restored and stopped through QEMU's QMP socket.

A VM is brought up by restoring a snapshot that was taken right after boot, where one is cached, and by booting (and then taking
that snapshot) where not. So a crash costs two seconds, not a boot.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu.qmp import ExecuteError, QMPClient, QMPError

from kmodlab.ground import process
from kmodlab.ground.cache import cache_dir, digest, filled, locked
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, remove_tree, tail, write_aside
from kmodlab.ground.process import Ended
from kmodlab.guest.shell import AGENTS
from kmodlab.machine.accelerator import accelerator
from kmodlab.machine.firmware import VARIABLES, Firmware
from kmodlab.machine.lab_machine import LabMachine
from kmodlab.machine.qemu import Handed, hold, qemu_path, qemu_version, start
from kmodlab.machine.runtime import VmState, escaped, wait_until
from kmodlab.plan.kernels import Kernel
from kmodlab.results.contract import one_line

SAVE_LIMIT = 120.0
"""Seconds that writing a snapshot may take."""
QMP_LIMIT = 30.0
"""Seconds in which QEMU must have answered everything else."""
START_LIMIT = 60.0
"""Seconds in which QEMU must be there."""
VARIABLES_MOST = 16 << 20
"""Bytes of a firmware's variables."""
RESTORE_LIMIT = 60.0
"""Seconds until a restored VM must answer."""
CMDLINE = "quiet norandmaps log_buf_len=4M panic=-1 sysctl.kernel.hung_task_timeout_secs=15"
"""A log so large that a slow reader misses nothing of a module that talks much. A panic reboots at once, and QEMU (-no-reboot)
exits with it: a dead guest is seen at once, its console kept. Programs always lie at the same addresses: an emulating QEMU finds
again what it has translated, and starting one costs a quarter of what it would (9 ms of the processor's time, not 40)."""
SAVED = "state.zst"
BOOTED = "booted.json"
"""In a snapshot: the state of the VM that it was taken of."""
FIRST_TRY = 2
LAST_TRY = 32
"""Seconds in which a coming guest must have answered a connection, the first time and at most: a kernel that checks itself, on a
busy machine, needs more than two of them for the handshake."""
APART = ("-o", "ControlPath=none")
"""A connection of its own, which a snapshot must be spared: nobody would be at its other end after it."""
WARM_UP = """
insmod /none; rmmod none; modprobe -n -q loop; lsmod; cat /proc/modules; ls -d /; grep -q none /proc/modules; dd </dev/null
mkdir -p /run/kmodlab; tar -c /dev/null | tar -t; rm -rf /run/kmodlab
python3 -c 'import ctypes, fcntl, glob, json, os, random, re, select, signal, struct, subprocess, sys, termios, threading, time'
"""
"""What nearly every test runs: it is read and translated once, and a snapshot holds it in its page cache."""
LANDMARKS = f"python3 -c {shlex.quote((AGENTS / 'landmarks.py').read_text())}"
"""Notes where the kernel has what the agent wants to see of its memory."""
LANDMARKS_LIMIT = 300.0
"""Seconds that this may take: without, armed timers and what still points to a module would be missed, unnoticed."""


@dataclass(frozen=True)
class Vm(LabMachine):
    """A virtual machine."""

    firmware: Firmware | None = None
    """None: QEMU starts the kernel without any."""
    loader: Path | None = None
    """A folder that is the EFI system partition, whose boot loader the firmware starts; None: QEMU starts the kernel."""
    disk: Path | None = None
    """A file that is one more drive, read-only; None: it has its root only."""

    @property
    def wires(self) -> Path:
        """The folder of QEMU's sockets and of the firmware's variables: QEMU's own, so what is there may be a stranger's."""
        return self.folder / "qemu"

    @property
    def emulated(self) -> Vm:
        """QEMU holds the wires of its chips."""
        return self

    def start(self) -> VmState:
        """Bring the VM up, from its snapshot where one is cached. Does nothing to one that runs."""
        if state := self.state:
            return state
        self.folder.mkdir(parents=True, exist_ok=True)
        snapshot = self._snapshot()
        with locked(snapshot.name, wait=600, busy=f"another kmodlab has been booting {self.kernel.id} for ten minutes"):
            if (snapshot / BOOTED).exists():
                try:
                    return self._restore(snapshot)
                except LabError:
                    # Saved by another processor, or damaged: a boot will do.
                    remove_tree(snapshot)
            try:
                return self._boot(snapshot, self.kernel.vm_boot_limit / 2)
            except LabError:
                # An emulator whose processors are threads hangs in a boot now and then (seen once in some hundreds).
                return self._boot(snapshot, self.kernel.vm_boot_limit)

    def _boot(self, snapshot: Path, limit: float) -> VmState:
        """Start the kernel, and keep what it is like when it answers."""
        started = time.monotonic()
        state = self._launch(restored=False)
        with self._stopped_on_error():
            self._await_ssh(limit, APART)
            state = self._note(state, seconds=(took := time.monotonic() - started), boot_seconds=took)
            self._warm_up()
            self._note_landmarks()
            self._save(snapshot, state)
        return state

    def power_on(self) -> VmState:
        """Start the VM as its power button does: from the firmware on, whose variables are as the last boot left them. Nothing
        waits for what comes up, and no snapshot is used or taken.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        last, kept = self.wires / VARIABLES, self.folder / VARIABLES
        if last.exists():
            write_aside(kept, read_regular(last, VARIABLES_MOST))
        return self._launch(restored=False, variables=kept if kept.exists() else None)

    def await_ready(self) -> None:
        """Wait until the system in it answers."""
        with self._stopped_on_error():
            self._await_ssh(self.kernel.vm_boot_limit)

    def await_off(self, limit: float) -> None:
        """Wait until it has powered off, or has begun to start anew: no VM of the lab does so by itself."""
        wait_until(lambda: self.state is None, limit, f"VM {self.kernel.id} does not power off; its console is {self.console}")

    def ssh(self, *words: str, limit: float = 20) -> Ended:
        """Run one command in the guest over a connection of its own."""
        return self._ssh(*APART, self.kernel.id, *words, limit=limit)

    def _ssh(self, *words: str, limit: float) -> Ended:
        return process.run(["ssh", "-F", str(self.ssh_config), *words], seconds=limit)

    def qmp(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """Run QMP commands, in order, and return their answers."""

        async def run(client: QMPClient) -> list[Any]:
            return [await client.execute(name, arguments) for name, arguments in calls]

        answers: list[Any] = self._with_qmp(run)
        return answers

    def _with_qmp(self, work: Callable[[QMPClient], Awaitable[Any]]) -> Any:
        async def session() -> Any:
            client = QMPClient(self.kernel.id)
            await client.connect(str(self.wires / "qmp"))
            try:
                return await work(client)
            finally:
                await client.disconnect()

        try:
            return asyncio.run(asyncio.wait_for(session(), SAVE_LIMIT + QMP_LIMIT))
        except TimeoutError as problem:
            raise LabError(f"VM {self.kernel.id}: QEMU does not answer", hint=f"its console is {self.console}") from problem
        except (QMPError, EOFError, OSError) as problem:
            raise LabError(f"VM {self.kernel.id}: QMP: {problem}", hint=f"its console is {self.console}") from problem

    def _arguments(self, named: Callable[[Path], str] = str) -> list[str]:
        """QEMU's arguments that are the same for a boot and for a restore; with paths as they are, part of the snapshot's key."""
        kernel = self.kernel
        accel = accelerator(kernel, self.image)
        # TCG keeps as much translated code as it may: 128 MiB holds what a guest uses, and leaves its process small.
        accel_argument = "tcg,thread=multi,tb-size=128" if accel == "tcg" else accel
        writes = "snapshot=on" if kernel.vm_root_writable else "readonly=on"
        return [
            *("-machine", kernel.vm_machine, "-accel", accel_argument, "-cpu", "host" if accel == "kvm" else kernel.vm_cpu),
            *("-smp", str(kernel.vm_cpus), "-m", str(kernel.vm_memory)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-drive", f"if=none,id=root,file={named(self.image.root)},format=raw,{writes}"),
            *(word for device in kernel.vm_devices for word in ("-device", device)),
            *(("-net", "nic,netdev=net") if kernel.vm_onboard_net else ()),
            # After the root, which is to be the first disk.
            *self._more_disk(named),
            *self._starter(named),
        ]

    def _more_disk(self, named: Callable[[Path], str]) -> list[str]:
        if not self.disk:
            return []
        drive = f"if=none,id=more,file={named(self.disk)},format=raw,readonly=on"
        return ["-drive", drive, "-device", "virtio-blk-pci,drive=more"]

    def _starter(self, named: Callable[[Path], str]) -> list[str]:
        """What starts the kernel: a disk with its boot loader, or QEMU."""
        if self.loader:
            drive = f"if=none,id=loader,format=raw,readonly=on,file=fat:{named(self.loader)}"
            return ["-drive", drive, "-device", "virtio-blk-pci,drive=loader,bootindex=0"]
        board = ["-dtb", named(self.image.dtb)] if self.kernel.vm_dtb else []
        return ["-kernel", named(self.image.kernel), "-initrd", named(self.image.initrd), "-append", self.cmdline, *board]

    @property
    def cmdline(self) -> str:
        """The kernel's command line."""
        return f"console={self.kernel.vm_console} {CMDLINE} {self.kernel.vm_cmdline}".rstrip()

    def _runtime_arguments(self, console: int) -> list[str]:
        """Arguments that name this run's own files and ports. The guest can be reached on loopback, and reaches nothing.

        QEMU runs in its folder `wires`. Through the socket `qtest` there a test drives and watches the machine's wires from
        outside (QEMU's qtest line protocol).
        """
        unused = ("-serial", "null") * self.kernel.vm_serial
        return [
            *("-name", f"guest={escaped(self.folder)}"),  # by which its process is known again
            *("-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
            *("-add-fd", f"fd={console},set=1", "-chardev", "file,id=console,path=/dev/fdset/1,append=on"),
            *(*unused, "-serial", "chardev:console"),
            *("-qmp", "unix:qmp,server=on,wait=off"),
            *("-qtest", "unix:qtest,server=on,wait=off", "-qtest-log", "/dev/null"),
        ]

    def _snapshot(self) -> Path:
        key = digest(
            *self._arguments(),
            WARM_UP,
            LANDMARKS,
            qemu_version(self.kernel.vm_qemu),
            self.firmware.key if self.firmware else "",
        )
        return cache_dir() / "snapshots" / f"{self.kernel.id}-{key}"

    def _launch(self, *, restored: bool, incoming: int | None = None, variables: Path | None = None) -> VmState:
        remove_tree(self.wires)
        self.wires.mkdir(mode=0o700)
        flash = self.firmware.arguments(self.wires, variables) if self.firmware else []
        accel = accelerator(self.kernel, self.image)
        with Handed() as handed, self.console.open("ab") as console, (self.folder / "qemu.log").open("w+b") as said:
            command = [
                *hold(self.kernel.vm_qemu, self.kernel.id, accel),
                *self._arguments(handed.name),
                *flash,
                *self._runtime_arguments(console.fileno()),
                *(("-incoming", f"fd:{incoming}") if incoming is not None else ()),
            ]
            inherited = [*handed.files, console.fileno(), *([incoming] if incoming is not None else [])]
            process = start(command, self.wires, said, inherited)
        with self._killed_on_error(process):
            wait_until(
                lambda: _listens(self.wires / "qmp") or process.poll() is not None,
                START_LIMIT,
                f"VM {self.kernel.id}: QEMU does not begin",
            )
            if process.poll() is not None:
                last = one_line(tail(self.folder / "qemu.log", 4096).strip().rpartition("\n")[2])
                raise LabError(f"VM {self.kernel.id}: QEMU does not start: {last or 'no word'}")
            port = self._ssh_port()
        state = VmState(pid=process.pid, port=port, accel=accel, restored=restored)
        self._tell_way(port)
        return self._note(state)

    @contextmanager
    def _killed_on_error(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        try:
            yield
        except BaseException:
            process.kill()
            process.wait()
            raise

    def _ssh_port(self) -> int:
        """QEMU took a free port by itself, which cannot be taken by another in between; it tells which."""
        (usernet,) = self.qmp(("human-monitor-command", {"command-line": "info usernet"}))
        found = re.search(r"HOST_FORWARD\S*\s+\d+\s+127\.0\.0\.1\s+(\d+)", usernet)
        if not found:
            raise LabError(f"VM {self.kernel.id}: QEMU forwards no SSH port: {usernet.strip()!r}")
        return int(found[1])

    def _tell_way(self, port: int) -> None:
        """Tell SSH the way to a guest whose SSH port is forwarded from this one on loopback."""
        self._write_ssh_files(
            f"[127.0.0.1]:{port}",
            {
                "HostName": "127.0.0.1",
                "Port": port,
                "ControlPersist": "600",
                "ConnectTimeout": math.ceil(5 * self.kernel.vm_patience),
            },
        )

    def _await_ssh(self, limit: float, options: tuple[str, ...] = ()) -> None:
        """Wait until a command runs in the guest. sshd answers or the connection is refused by then: this is the event itself.

        The connection stays open for those who come next, unless the options say otherwise: it costs an emulated guest a second.
        """

        seconds = FIRST_TRY

        def answers() -> bool:
            nonlocal seconds
            if self.state is None:
                raise LabError(f"VM {self.kernel.id} ended while it came up", hint=f"its console is {self.console}")
            started = time.monotonic()
            try:
                if self._ssh(*options, "-o", f"ConnectTimeout={seconds}", self.kernel.id, "true", limit=limit).status == 0:
                    return True
            except subprocess.TimeoutExpired:
                pass
            if time.monotonic() - started >= seconds:
                seconds = min(2 * seconds, LAST_TRY)
            return False

        wait_until(answers, limit, f"VM {self.kernel.id} does not answer; its console is {self.console}", pause=0.1)

    def _warm_up(self) -> None:
        """Have the guest read what every test needs, so that the snapshot holds it in its page cache; a busy one does without."""
        with suppress(subprocess.TimeoutExpired):
            self.ssh(WARM_UP, limit=60 * self.kernel.vm_patience)

    def _note_landmarks(self) -> None:
        try:
            self.ssh(LANDMARKS, limit=LANDMARKS_LIMIT * self.kernel.vm_patience)
        except subprocess.TimeoutExpired as problem:
            raise LabError(f"VM {self.kernel.id} does not tell its symbols within {problem.timeout:.0f} s") from problem

    def _save(self, snapshot: Path, state: VmState) -> None:
        """Keep the state right after the boot. A machine that cannot be saved goes on without, and is booted each time."""
        with suppress(_UnsavableError), filled(snapshot) as folder:
            write_aside(folder / BOOTED, state.model_dump_json())
            with _packing(folder / SAVED) as writer:
                self._with_qmp(lambda client: _migrate(client, writer))
            if self.firmware:
                (folder / VARIABLES).write_bytes(read_regular(self.wires / VARIABLES, VARIABLES_MOST))

    def _restore(self, snapshot: Path) -> VmState:
        variables = snapshot / VARIABLES
        booted = VmState.model_validate_json((snapshot / BOOTED).read_text())
        started = time.monotonic()
        with _unpacking(snapshot / SAVED) as reader:
            state = self._launch(restored=True, incoming=reader, variables=variables if variables.exists() else None)
            with self._stopped_on_error():
                self._with_qmp(_resume)
        with self._stopped_on_error():
            self._await_ssh(RESTORE_LIMIT * self.kernel.vm_patience)
        return self._note(state, seconds=time.monotonic() - started, boot_seconds=booted.boot_seconds)


def _listens(path: Path) -> bool:
    """Whether somebody answers at a socket. It is there a moment before that: on a busy machine long enough to be refused."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class _UnsavableError(Exception):
    """QEMU knows that it cannot save this machine: its model has a device without that ability."""


@contextmanager
def _packing(path: Path) -> Iterator[int]:
    """The end of a pipe for a snapshot to be written to; it is in the file, all of it, when the block ends without an error."""
    reader, writer = os.pipe()
    with path.open("wb") as file, subprocess.Popen(["zstd", "-q", "-1", "-c"], stdin=reader, stdout=file) as zstd:
        os.close(reader)
        try:
            yield writer
        except BaseException:
            zstd.kill()
            raise
        finally:
            os.close(writer)
        if zstd.wait(SAVE_LIMIT):
            raise LabError(f"a snapshot could not be written to {path}: is the disk full? see `df {cache_dir()}`")


@contextmanager
def _unpacking(path: Path) -> Iterator[int]:
    """The end of a pipe from which a snapshot is to be read."""
    reader, writer = os.pipe()
    try:
        with path.open("rb") as file, subprocess.Popen(["zstd", "-q", "-dc"], stdin=file, stdout=writer) as zstd:
            os.close(writer)
            try:
                yield reader
            finally:
                zstd.kill()
    finally:
        os.close(reader)


async def _migrate(client: QMPClient, writer: int) -> None:
    """Save the machine's state to a pipe of ours, which QEMU gets as a descriptor: it may start no program."""
    await client.execute("stop")
    try:
        client.send_fd_scm(writer)
        await client.execute("getfd", {"fdname": "snapshot"})
        await client.execute("migrate", {"uri": "fd:snapshot"})
    except ExecuteError as problem:
        raise _UnsavableError(str(problem)) from problem
    else:
        await _migration_end(client, "save a snapshot")
    finally:
        await client.execute("cont")


async def _resume(client: QMPClient) -> None:
    await _migration_end(client, "restore its snapshot")
    await client.execute("cont")


async def _field(client: QMPClient, query: str) -> object:
    """The `status` of a query's answer; None where it has none (no migration has been tried)."""
    answer = await client.execute(query)
    return answer.get("status") if isinstance(answer, dict) else None


async def _migration_end(client: QMPClient, what: str) -> None:
    deadline = time.monotonic() + SAVE_LIMIT
    while time.monotonic() < deadline:
        status = await _field(client, "query-status")
        migration = await _field(client, "query-migrate")
        if migration == "failed":
            raise LabError(f"QEMU could not {what}: is the disk full? see `df {cache_dir()}`")
        if migration == "completed" or (migration is None and status not in ("inmigrate", "postmigrate")):
            return
        await asyncio.sleep(0.02)
    raise LabError(f"QEMU did not {what} within {SAVE_LIMIT:.0f} s")


def emulated_by(kernel: Kernel) -> str:
    """The path of the QEMU that a kernel's machine needs. LabError where this machine does not have it."""
    return qemu_path(kernel.vm_qemu, kernel.id)
