"""A machine that only SSH reaches, run as a board: prepared by the roles, building for itself, power-cycled when it dies.

The board is a VM that stands in for one, with an account and sudo on it. Its power is a switched socket (an HTTP server, as
many such sockets are) in a labgrid of its own on loopback: off kills QEMU, on starts another. The tests share it, in any order:
who finds it off turns it on.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from kmodlab.debian.archive import download, resolve
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import remove_tree
from kmodlab.machine.debian_host import machine
from kmodlab.machine.vm import Vm
from kmodlab.plan.kernels import default_fleet, load_inventory, select
from kmodlab.results.contract import Cell, Results
from kmodlab.results.folder import load_results

HERE = Path(__file__).parent
KERNEL = "6.12-x86_64"
LIMIT = 1800
"""Seconds for a whole run."""
BIN = Path(sys.executable).parent
CENTURY = 100 * 365 * 86400
"""Seconds: the stand-in reaches no archive, and needs none."""
ACCOUNT = """set -e
dpkg -i /tmp/sudo*.deb >/dev/null
echo 127.0.0.1 $(hostname) >>/etc/hosts
useradd -m -s /bin/sh -p '*' pi
install -d -o pi -m 700 /home/pi/.ssh
install -o pi -m 600 /root/.ssh/authorized_keys /home/pi/.ssh/authorized_keys
echo 'pi ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/pi
"""


class BoardVm(Vm):
    """A VM that truly boots each time, as a board does: no snapshot of an earlier boot is its."""

    def _snapshot(self) -> Path:
        snapshot = cache_dir() / "snapshots" / f"board-{os.getpid()}"
        remove_tree(snapshot)
        return snapshot


class StandIn:
    """The board, as it is behind its socket."""

    def __init__(self, folder: Path) -> None:
        vm = machine(KERNEL, folder / "vm")
        self.vm = BoardVm(vm.kernel, vm.image, vm.folder, vm.console)
        self.packages = _sudo_packages(folder)
        self.boots = 0
        self.on = False

    def power(self, on: bool) -> None:
        """Off kills it. On boots it, and gives it the person's account and sudo that a board would have on its disk."""
        self.on = on
        if not on:
            self.vm.stop()
            return
        self.vm.start()
        self.boots += 1
        with self.vm.guest() as guest:
            for package in self.packages:
                subprocess.run(guest.command(f"cat >/tmp/{package.name}"), input=package.read_bytes(), check=True)
            guest.sh(ACCOUNT, timeout=120)


def _sudo_packages(folder: Path) -> list[Path]:
    """sudo for the stand-in, which reaches no archive: from the one that its kernel is from."""
    (kernel,) = select([KERNEL], load_inventory(), default_fleet())
    resolved = resolve([kernel])[kernel.id]
    assert not isinstance(resolved, LabError)
    return download(resolved, ["sudo"], folder)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    stand_in = StandIn(tmp_path_factory.mktemp("board"))
    yield stand_in
    stand_in.power(False)


@pytest.fixture(scope="module")
def socket_url(board: StandIn) -> Iterator[str]:
    """A switched socket: `GET /power/0/1` turns it on, `/power/0/0` off, `/power/0` says which. It waits for nobody."""

    class Socket(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, _, *value = self.path.split("/")
            if value:
                threading.Thread(target=board.power, args=(value[0] == "1",)).start()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"1" if board.on else b"0")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Socket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/power/{{index}}/{{value}}"
    server.shutdown()


@pytest.fixture(scope="module")
def serial_port(board: StandIn) -> Iterator[int]:
    """A serial server: who connects gets what the console says from now on."""

    def serve(connection: socket.socket) -> None:
        with connection, board.vm.console.open("rb") as console:
            console.seek(0, os.SEEK_END)
            while not done.wait(0.1):
                try:
                    connection.sendall(console.read())
                except OSError:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    done = threading.Event()
    board.vm.console.touch()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        done.set()


@pytest.fixture(scope="module")
def labgrid(tmp_path_factory: pytest.TempPathFactory, socket_url: str, serial_port: int) -> Iterator[dict[str, str]]:
    """A labgrid with one place, `shelf-1`; the environment in which its users find it."""
    folder = tmp_path_factory.mktemp("labgrid")
    with socket.create_server(("127.0.0.1", 0)) as free:
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    resources = {
        "shelf-1": {
            "NetworkPowerPort": {"model": "simplerest", "host": socket_url, "index": 0},
            "NetworkSerialPort": {"host": "127.0.0.1", "port": serial_port},
        }
    }
    (folder / "resources.yaml").write_text(yaml.safe_dump(resources))
    environment = {**os.environ, "LG_COORDINATOR": coordinator}
    processes = []

    def start(*words: str) -> None:
        with (folder / f"{words[0]}.log").open("wb") as log:
            command = [str(BIN / words[0]), *words[1:]]
            processes.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment))

    def client(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "labgrid-client"), "-p", "shelf-1", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)

    try:
        start("labgrid-coordinator", "-l", coordinator)
        await_until(lambda: client("create").returncode == 0, "labgrid's coordinator does not answer")
        start("labgrid-exporter", "-c", coordinator, "-n", "rack", "--hostname", "127.0.0.1", "resources.yaml")
        await_until(lambda: "NetworkSerialPort" in client("resources").stdout, "labgrid's exporter exports nothing")
        assert client("add-match", "rack/shelf-1/*").returncode == 0
        yield environment
    finally:
        for process in processes:
            process.terminate()
            process.wait(10)


def await_until(done: Callable[[], bool], message: str, limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while not done():
        assert time.monotonic() < deadline, message
        time.sleep(0.2)


@pytest.fixture(scope="module")
def inventory(board: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board's entry, as a person would write it. It is off, and nobody has connected to it yet."""
    caches = {f"{role}_cache_seconds": CENTURY for role in ("kernel_headers", "build_toolchain", "kmod_tools")}
    entry = {
        "ansible_host": KERNEL,
        "ansible_user": "pi",
        "ansible_become": True,
        "board_arch": "x86_64",
        "board_place": "shelf-1",
        "board_ssh_config": str(board.vm.ssh_config),
        "board_boot_limit": 240,
        "board_gpio": {"provider": "simulated", "chip": "kmodlab-gpio", "button_up": 0, "button_down": 1, "led": 2},
        **caches,
    }
    path = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"children": {"boards": {"hosts": {"standin": entry}}}}}))
    return path


def matrix(reports: Path, inventory: Path, environment: dict[str, str], *words: str) -> tuple[int, Results]:
    """A run on the board: its exit status and results."""
    command = [sys.executable, "-m", "kmodlab", "matrix", "--kernels", "standin", "--boards", str(inventory)]
    answer = subprocess.run(
        [*command, "--reports", str(reports), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        timeout=LIMIT,
        check=False,
    )
    assert (reports / "latest" / "results.json").exists(), answer.stdout + answer.stderr
    return answer.returncode, load_results(reports / "latest")


def cells(results: Results) -> dict[str, Cell]:
    return {each.module: each for each in results.cells}


@pytest.mark.nightly  # minutes; what a board's column does is tested without a machine, too (tests/unit/stages/test_stages.py)
def test_a_board_that_is_off_is_turned_on_and_proves_modules(
    board: StandIn, inventory: Path, labgrid: dict[str, str], tmp_path: Path
) -> None:
    board.power(False)
    boots = board.boots
    status, results = matrix(tmp_path, inventory, labgrid, "--only", "hello-2 intrpt bottomhalf")
    assert {name: (each.verdict, each.reason) for name, each in cells(results).items()} == dict.fromkeys(
        ("hello-2", "intrpt", "bottomhalf"), ("pass", "")
    )
    assert status == 0
    (kernel,) = results.kernels
    assert (kernel.id, kernel.accel, kernel.arch) == ("standin", "hardware", "x86_64")
    assert kernel.release.startswith("6.12.") and "gcc-14" in kernel.compiler
    assert board.boots == boots + 2  # turned on, and brought back after a test that had the kernel enforce signatures
    listing = (tmp_path / "latest/logs/standin/gpio.txt").read_text()
    assert re.search(r"gpiochip\d+ \[kmodlab-gpio\] 8 lines", listing), listing


@pytest.mark.nightly  # what it does to a run is tested without a machine, too
def test_a_board_that_dies_is_power_cycled_and_the_run_goes_on(
    board: StandIn, inventory: Path, labgrid: dict[str, str], tmp_path: Path
) -> None:
    boots = board.boots + (0 if board.on else 1)
    only = "panics refuses"  # in this order
    status, results = matrix(tmp_path, inventory, labgrid, "--modules", str(HERE / "faults"), "--only", only)
    found = cells(results)
    assert (found["panics"].verdict, found["panics"].stage) == ("fail", "load"), found["panics"]
    assert (found["refuses"].verdict, found["refuses"].stage) == ("fail", "load"), found["refuses"]
    assert "No such device" in found["refuses"].reason
    assert status == 1
    assert board.boots == boots + 1
    assert "panic: " in found["panics"].reason and "nothing can be done" in found["panics"].reason, found["panics"].reason


@pytest.mark.nightly
def test_a_board_that_does_not_come_back_is_an_error_with_its_reason(
    board: StandIn, inventory: Path, labgrid: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not board.on:
        board.power(True)
    monkeypatch.setattr(board, "power", lambda on: StandIn.power(board, on=False))  # the socket's fuse has gone
    short = tmp_path / "hosts.yml"
    short.write_text(inventory.read_text().replace("240", "5"))
    only = "panics refuses"
    status, results = matrix(tmp_path, short, labgrid, "--modules", str(HERE / "faults"), "--only", only)
    assert status == 1
    refuses = cells(results)["refuses"]
    assert refuses.verdict == "error"
    assert "board standin did not come back within 5 s after it was power-cycled" in refuses.reason
