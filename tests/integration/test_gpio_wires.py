"""The wires of the boards that QEMU has, on machines that are never started: the test does to the chips what a kernel would."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import QMPClient

from kmodlab.ground.errors import LabError
from kmodlab.guest.gpio import EmulatedDevice
from kmodlab.guest.qtest import Qtest


@dataclass(frozen=True)
class Paused:
    """A machine that is there, and does nothing."""

    wires: Path

    def qmp(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        async def session() -> list[Any]:
            client = QMPClient("paused")
            await client.connect(str(self.wires / "qmp"))
            try:
                return [await client.execute(name, arguments) for name, arguments in calls]
            finally:
                await client.disconnect()

        return asyncio.run(session())


@dataclass(frozen=True)
class Board:
    """A board of QEMU's, and how a kernel would set up its chip: registers by offset."""

    command: tuple[str, ...]
    chip: str
    other: str
    """A chip that it has not."""
    setup: tuple[tuple[int, int], ...]
    """Lines 0 and 1 interrupt on both edges; line 2 is an output."""
    data: int
    """Where a kernel writes the levels of outputs."""
    mask: int
    """What it writes there, to reach line 2: PL061 takes the mask from the address."""
    acknowledge: int


VIRT = Board(
    ("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57"),
    chip="9030000.pl061",
    other="209c000.gpio",
    setup=((0x400, 0x4), (0x408, 0x3), (0x410, 0x3)),
    data=4 << 2,
    mask=0x4,
    acknowledge=0x41C,
)
SABRELITE = Board(
    ("qemu-system-arm", "-machine", "sabrelite"),
    chip="20a0000.gpio",
    other="9030000.pl061",
    setup=((0x4, 0x4), (0x1C, 0x3), (0x18, 0xFFFFFFFF), (0x14, 0x3)),  # the levels of before have left their marks
    data=0x0,
    mask=0x4,
    acknowledge=0x18,
)


@pytest.fixture(params=[VIRT, SABRELITE], ids=["virt", "sabrelite"])
def board(request: pytest.FixtureRequest) -> Board:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def machine(board: Board, tmp_path: Path) -> Iterator[Paused]:
    sockets = [
        *("-qmp", f"unix:{tmp_path}/qmp,server=on,wait=off"),
        *("-qtest", f"unix:{tmp_path}/qtest,server=on,wait=off", "-qtest-log", "/dev/null"),
        *("-pidfile", str(tmp_path / "pid"), "-daemonize"),
    ]
    plain = ["-accel", "tcg", "-S", "-display", "none", "-serial", "null"]
    subprocess.run([*board.command, *plain, *sockets], check=True, timeout=60)
    yield Paused(tmp_path)
    kill(tmp_path)


def kill(folder: Path) -> None:
    """End the machine, if it has not been ended."""
    with suppress(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def chip(board: Board, machine: Paused) -> Iterator[EmulatedDevice]:
    device = EmulatedDevice(machine, board.chip)
    yield device
    device.qtest.close()


def write(board: Board, qtest: Qtest, offset: int, value: int) -> None:
    qtest.command("writel", hex(int(board.chip.split(".")[0], 16) + offset), hex(value))


def test_an_edge_is_pending_until_it_is_acknowledged(board: Board, chip: EmulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    for offset, value in board.setup:
        write(board, chip.qtest, offset, value)
    chip.await_taken(0)
    for level in (1, 0):
        chip.drive(0, level)
        monkeypatch.setattr("kmodlab.guest.gpio.TAKEN_LIMIT", 0.05)
        with pytest.raises(AssertionError, match=r"has not taken an edge of line 0 of "):
            chip.await_taken(0)
        chip.await_taken(1)
        write(board, chip.qtest, board.acknowledge, 1)
        chip.await_taken(0)


def test_an_edge_on_a_line_that_is_masked_may_yet_be_acknowledged(board: Board, chip: EmulatedDevice) -> None:
    for offset, value in board.setup:
        write(board, chip.qtest, offset, value)
    chip.drive(0, 1)
    write(board, chip.qtest, chip._registers.enabled, 0)
    started = time.monotonic()
    chip.await_taken(0)
    assert time.monotonic() - started >= chip._registers.masked


def test_an_edge_that_nobody_asked_for_is_not_waited_for(board: Board, chip: EmulatedDevice) -> None:
    chip.drive(4, 1)
    chip.await_taken(4)


def test_an_output_is_followed(board: Board, chip: EmulatedDevice) -> None:
    for offset, value in board.setup:
        write(board, chip.qtest, offset, value)
    for level in (1, 0, 1):
        write(board, chip.qtest, board.data, board.mask * level)
        assert chip.output_after(2, level, 5) == level
    assert chip.output(0) == 0
    assert chip.qtest.changes == 3


def test_a_new_session_knows_what_the_outputs_are(board: Board, machine: Paused, chip: EmulatedDevice) -> None:
    for offset, value in (*board.setup, (board.data, board.mask)):
        write(board, chip.qtest, offset, value)
    chip.qtest.close()
    again = EmulatedDevice(machine, board.chip)
    assert again.output(2) == 1
    write(board, again.qtest, board.data, 0)
    assert again.output_after(2, 0, 5) == 0
    again.qtest.close()


def test_a_chip_that_the_board_has_not_is_said(board: Board, machine: Paused) -> None:
    with pytest.raises(LabError, match=r"no GPIO chip at .*mend the wiring's chip"):
        EmulatedDevice(machine, board.other)


def test_a_machine_that_ends_is_the_labs_error(board: Board, machine: Paused, chip: EmulatedDevice) -> None:
    threading.Timer(0.5, kill, [machine.wires]).start()
    with pytest.raises(LabError, match=r"qtest socket .* is gone, at '.*': the VM ended"):
        chip.output_after(2, 1, 30)
    with pytest.raises(LabError, match=r"qtest socket .* is gone"):
        chip.drive(0, 1)
