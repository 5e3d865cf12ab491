"""User-Mode Linux's process: what holds it, and who gets its line. A script stands where the kernel does, with its words."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kmodlab.debian.roots import BootImage
from kmodlab.ground.errors import LabError
from kmodlab.machine import lab_machine, uml, uml_process
from kmodlab.machine.runtime import wait_until
from kmodlab.machine.uml import Uml
from kmodlab.machine.uml_process import END, LINE, WANTED, Wanted
from kmodlab.plan.kernels import Kernel, load_inventory

CHANNELS = """#!/bin/bash
for word; do
    case $word in con0=fd:*) console=${word##*:} ;; ssl0=fd:*) line=${word##*:} ;; esac
done
say() { echo "$@" >&$console; }
"""
LIMIT = 20.0


class Started:
    """A machine's process whose kernel is a script."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        kernel = folder / "vmlinuz"
        kernel.write_text(CHANNELS + script)
        kernel.chmod(0o755)
        self.console = folder / "console.log"
        files = {"linux": kernel, "root.erofs": folder / "root.erofs"}
        files["root.erofs"].write_text("root")
        wanted = Wanted(files=files, words=["quiet"], memory=64, console=self.console)
        (folder / WANTED).write_text(wanted.model_dump_json())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kmodlab.machine.uml_process", str(folder)], start_new_session=True
        )

    def line(self) -> socket.socket:
        """Its line, once it can be had."""
        wait_until((self.folder / LINE).exists, LIMIT, "no line")
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(LIMIT)
            door.connect(str(self.folder / LINE))
            _, (file, *_), _, _ = socket.recv_fds(door, 1, 1)
        return socket.socket(fileno=file)

    def told(self, text: str) -> None:
        """Wait until its console says so."""
        wait_until(lambda: self.console.exists() and text in self.console.read_text(), LIMIT, f"its console does not say {text}")


Start = Callable[[str], Started]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "m"
    made.mkdir()
    return made


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    started: list[Started] = []

    def begin(script: str) -> Started:
        started.append(Started(folder, script))
        return started[-1]

    yield begin
    for each in started:
        each.process.kill()
        each.process.wait()


def test_its_line_is_had_once_it_listens_and_by_one_only(start: Start) -> None:
    machine = start('say booting; say "kmodlab: ready"; read -r word <&$line; echo "got $word" >&$line; sleep 1000')
    with machine.line() as line:
        line.settimeout(LIMIT)
        line.sendall(b"hello\n")
        assert line.recv(100) == b"got hello\n"
        machine.told("booting\nkmodlab: ready\n")
        wait_until(lambda: _refused(machine.folder / LINE), LIMIT, "a second line was promised")


def _refused(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(0.1)
        try:
            door.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False


def test_its_line_ends_with_it(start: Start) -> None:
    machine = start('say "kmodlab: ready"; read -r word <&$line; echo last words; say the end')
    with machine.line() as line:
        line.settimeout(LIMIT)
        line.sendall(b"bye\n")
        assert line.recv(100) == b""
    assert machine.process.wait(LIMIT) == 0
    assert (machine.folder / END).read_text() == "last words\n"
    assert machine.console.read_text().endswith("the end\n")


def test_nothing_of_this_machine_can_be_written_from_inside(start: Start, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("ours")
    machine = start(
        f"""
for path in / /usr /etc /home /root /var {tmp_path} {own} /proc/sys /proc/sysrq-trigger /sys /tmp/linux /tmp/root.erofs; do
    [ ! -w $path ] || say "may write $path"
done
[ ! -e {own} ] || say "sees {own}"
echo changed >/tmp/root.erofs
grep -q '^CapEff:.0*$' /proc/self/status || say has capabilities
[ $(ls -d /proc/[0-9]* | wc -l) -lt 8 ] || say sees processes
[ $(grep -c : /proc/net/dev) = 1 ] || say has a network
unshare -U true && say makes namespaces
say checked
"""
    )
    machine.told("checked")
    assert machine.console.read_text() == "checked\n"
    assert (machine.folder / "root.erofs").read_text() == "root" and own.read_text() == "ours"


def test_who_kills_its_process_kills_all_of_it(start: Start) -> None:
    mark = f"{time.monotonic_ns() % 10**9 + 10**9}"
    machine = start(f'say "kmodlab: ready"; trap "" TERM HUP; sleep {mark} & sleep {mark}')
    machine.told("ready")
    wait_until(lambda: _running(mark) == 2, LIMIT, "it does not sleep")
    os.kill(machine.process.pid, signal.SIGKILL)
    wait_until(lambda: _running(mark) == 0, LIMIT, "something of it is left")


def _running(word: str) -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += path.read_bytes() == f"sleep\0{word}\0".encode()
    return found


def test_a_console_is_kept_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uml_process, "CONSOLE_MOST", 10)
    reader, writer = socket.socketpair()
    writer.sendall(b"0123456789 is lost")
    writer.close()
    ours, its = socket.socketpair()
    with reader, ours, its:
        uml_process._keep_console(reader, tmp_path / "console", ours, its)
    assert (tmp_path / "console").read_bytes() == b"0123456789"


@pytest.fixture
def kernel() -> Kernel:
    return load_inventory()["um-6.12"]


def test_one_that_does_not_come_up_is_named_with_its_last_word(
    kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vmlinuz", "initrd", "root.erofs", "host_key.pub"):
        (folder / name).write_text("#!/bin/bash\necho no memory for me\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(lab_machine, "ssh_key", lambda: folder / "key")
    machine = Uml(kernel, BootImage(folder), folder / "run", folder / "console.log")
    with pytest.raises(LabError, match=r"um-6\.12 does not answer.*console\.log.*: no memory for me"):
        machine.start()
    assert machine.state is None


def test_it_is_told_its_root_and_to_end_where_a_vm_would(kernel: Kernel) -> None:
    words = Uml(kernel, BootImage(Path("/image")), Path("/run/m"), Path("/console")).cmdline.split()
    assert {"initrd=/tmp/initrd", "ubd0r=/tmp/root.erofs", "noreboot", "panic=-1", "kasan_multi_shot"} <= set(words)
    assert kernel.vm_root == "/dev/ubda"


def test_another_architecture_is_told_in_one_line(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    uml.insist(kernel)
    monkeypatch.setattr("kmodlab.plan.kernels.native_arch", lambda: "arm64")
    with pytest.raises(LabError, match=r"^kernel um-6\.12: User-Mode Linux is a program of x86_64 machines"):
        uml.insist(kernel)
