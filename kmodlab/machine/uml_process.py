"""User-Mode Linux's process: a kernel as a program, held by the sandbox as any stranger's program is.

`python -m kmodlab.machine.uml_process FOLDER`, with a `Wanted` as wanted.json there, is a machine's own process: it outlives who
started it, and what it starts dies with it. A module's code in that kernel is code in this sandbox: it sees this machine's /usr,
its own kernel and images, all read-only, and nothing else of it. No file outlives it.

Its console is written to a file. Its serial line, by which it is logged into, is one end of a pair of sockets; the other end goes
to the first who connects to `line` in the folder, as a descriptor, so that nobody has to pass on what is said. There is one such
connection in a machine's life.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.ground.sandbox import MIB, Limits

WANTED = "wanted.json"
LINE = "line"
"""The socket in a machine's folder at which its serial line is given away."""
END = "uml.log"
"""The file there that says what became of it."""
READY = b"kmodlab: ready"
"""What it says on its console when it listens on its line."""
CONSOLE_MOST = 64 * MIB
"""Bytes of its console that are kept of one start: what it says after that is lost."""
LIFE = 12 * 3600.0
"""Seconds that a machine may live, whatever a run has forgotten."""
INSIDE = Path("/tmp")  # noqa: S108 - the sandbox's own
"""Where its files are in the sandbox."""
HOW = ("env", "GLIBC_TUNABLES=glibc.pthread.rseq=0", "setarch", "--addr-no-randomize")
"""What a kernel as a program needs. It takes away all of its children's memory, where a C library that has registered restartable
sequences would have this machine write; and what lies, at random, between its end and its heap it counts as its own memory."""
PROCESSES = 2000
"""Each of its programs is one of the sandbox's processes, too."""


class Wanted(BaseModel):
    """What is to be started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, Path]
    """By the names that the command knows them by: the kernel `linux`, and what it reads."""
    words: list[str]
    """Of the kernel's command line."""
    memory: int
    """MiB."""
    console: Path


def limits(memory: int) -> Limits:
    """What a machine of `memory` MiB may use: a file in its /dev/shm, and what KASAN keeps of it and of modules."""
    return Limits(
        seconds=LIFE,
        memory=(2 * memory + 256) * MIB,
        reserves=True,
        look=1.0,
        processes=PROCESSES,
        file=(memory + 64) * MIB,
        temporary=(memory + 64) * MIB,
    )


def main() -> None:
    """Run one machine to its end."""
    folder = Path(sys.argv[1])
    wanted = Wanted.model_validate_json((folder / WANTED).read_text())
    ours, its = socket.socketpair()
    # A pair of sockets here, too, though nothing is typed: it has to be a file that can be waited for.
    reader, console = socket.socketpair()
    words = [*wanted.words, f"mem={wanted.memory}M", f"con0=fd:{console.fileno()}", f"ssl0=fd:{its.fileno()}"]
    with _listening(folder) as door:
        keeper = threading.Thread(target=_keep_console, args=(reader, wanted.console, door, ours), daemon=True)
        keeper.start()
        try:
            answer = sandbox.run(
                None,
                [*HOW, str(INSIDE / "linux"), *words],
                limits=limits(wanted.memory),
                read_only={path: INSIDE / name for name, path in wanted.files.items()},
                inherited=(console.fileno(), its.fileno()),
            )
            said = answer.log
        except LabError as problem:
            said = f"{problem}\n"
        console.close()
        keeper.join()  # its last words are on their way
        write_aside(folder / END, said)


@contextmanager
def _listening(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as door:
        aside = folder / f"{LINE}.new"
        door.bind(str(aside))
        door.listen(1)
        aside.rename(folder / LINE)  # who finds it can connect
        yield door


def _keep_console(reader: socket.socket, path: Path, door: socket.socket, line: socket.socket) -> None:
    """Write what it says to a file; once it says that it listens, its line can be had."""
    kept, waiting, last = 0, True, b""
    with path.open("ab", buffering=0) as file:
        while chunk := reader.recv(1 << 16):
            file.write(chunk[: max(0, CONSOLE_MOST - kept)])
            kept += len(chunk)
            if waiting and READY in last + chunk:
                waiting = False
                threading.Thread(target=_give_line, args=(door, line), daemon=True).start()
            last = chunk[-len(READY) :]


def _give_line(door: socket.socket, line: socket.socket) -> None:
    connection, _ = door.accept()
    with connection, line:
        socket.send_fds(connection, [b"."], [line.fileno()])
    # A second one learns at once that there is no line any more.
    door.close()


if __name__ == "__main__":
    main()
