"""The wires of an emulated machine's chips, through QEMU's qtest socket: inputs driven, outputs watched, registers read.

The protocol is lines of text (docs/devel/qtest in QEMU). Beside the answers, QEMU sends `IRQ raise N` and `IRQ lower N` at any
moment once a device's outputs are intercepted, one device a session. A session ends with its QEMU: a restored VM needs another.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Self

from kmodlab.ground.errors import LabError

ANSWER_LIMIT = 10.0
"""Seconds within which QEMU must answer; it does in well under a millisecond."""
ENDED = ""
"""In the queue of answers: there will be no more."""


class Qtest:
    """A session with a running QEMU. LabError, naming the socket, whenever QEMU is gone or refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_LIMIT)
        try:
            self._socket.connect(str(path))
        except OSError as problem:
            self._socket.close()
            raise LabError(
                f"QEMU's qtest socket {path} cannot be used: {problem.strerror}", hint="is the VM running, and with -qtest?"
            ) from problem
        self._socket.settimeout(None)
        self._answers: Queue[str] = Queue()
        self._order = threading.Lock()
        self._changed = threading.Condition()
        self._changes = 0
        self._closed = False
        self.on_output: Callable[[int, int], None] | None = None
        """Called in the reader's thread for each change of an output: it must not wait for an answer."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the session; the VM runs on."""
        with suppress(OSError):  # QEMU may have ended it before us
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(ANSWER_LIMIT)
        self._socket.close()

    def command(self, *words: object) -> list[str]:
        """Send one command and return the words after `OK`."""
        line = " ".join(str(word) for word in words)
        with self._order:
            try:
                self._socket.sendall(f"{line}\n".encode())
                answer = self._answers.get(timeout=ANSWER_LIMIT)
            except OSError as problem:
                raise self._gone(line) from problem
            except Empty as problem:
                self.close()  # an answer that comes late must not be taken for the next one's
                raise LabError(f"QEMU does not answer '{line}' on {self.path} within {ANSWER_LIMIT:.0f} s") from problem
        if answer == ENDED:
            self._answers.put(ENDED)
            raise self._gone(line)
        status, *rest = answer.split()
        if status != "OK":
            raise LabError(f"QEMU refuses '{line}' on {self.path}: {answer}")
        return rest

    def watch_outputs(self, device: str) -> None:
        """From now on be told of each change of an output line of a device, by its path in QEMU's object tree.

        Not of the first fall of one that is high already: QEMU takes all for low when a session begins.
        """
        self.command("irq_intercept_out", device)

    def drive(self, device: str, line: int, level: int) -> None:
        """Drive one input line of a device."""
        self.command("set_irq_in", device, "unnamed-gpio-in", line, level)

    def register(self, address: int) -> int:
        """Read 32 bits of the machine's physical memory: a device's register, without the guest's doing."""
        (value,) = self.command("readl", hex(address))
        return int(value, 16)

    @property
    def changes(self) -> int:
        """How many changes of outputs QEMU has told of."""
        with self._changed:
            return self._changes

    def await_change(self, seen: int, timeout: float) -> None:
        """Wait until QEMU has told of more changes than `seen`, or `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._changes > seen, timeout)
            if self._closed:
                raise self._gone("waiting for an output")

    def _gone(self, what: str) -> LabError:
        return LabError(f"QEMU's qtest socket {self.path} is gone, at '{what}': the VM ended")

    def _read(self) -> None:
        # The connection is reset when QEMU is killed.
        with suppress(OSError), self._socket.makefile("r", encoding="ascii", errors="replace") as lines:
            for line in lines:
                self._take(line.strip())
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._answers.put(ENDED)

    def _take(self, line: str) -> None:
        if not line.startswith("IRQ "):
            self._answers.put(line)
            return
        _, change, number = line.split()
        if self.on_output:
            self.on_output(int(number), int(change == "raise"))
        with self._changed:
            self._changes += 1
            self._changed.notify_all()
