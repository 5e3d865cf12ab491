"""The qtest session, against a server that speaks QEMU's protocol."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodlab.ground.errors import LabError
from kmodlab.guest import qtest
from kmodlab.guest.qtest import Qtest

ANSWERS = {
    "irq_intercept_out /gpio": "OK\n",
    "set_irq_in /gpio unnamed-gpio-in 4 1": "IRQ raise 2\nOK\nIRQ lower 2\nIRQ raise 6\n",
    "readl 0x9030418": "OK 0x0000000000000011\n",
    "irq_intercept_out /none": "FAIL Unknown device\n",
    "silence": "",
}


class Server(threading.Thread):
    """Answers each line by the table; a line that is not in it ends the connection, as a QEMU that is killed does."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection, connection.makefile("r") as lines:
            for line in lines:
                if line.strip() not in ANSWERS:
                    return
                connection.sendall(ANSWERS[line.strip()].encode())


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Qtest]:
    server = Server(tmp_path / "qtest")
    server.start()
    with Qtest(tmp_path / "qtest") as session:
        yield session
    server.join(5)
    server.listener.close()


def test_changes_of_outputs_are_told_among_the_answers(session: Qtest) -> None:
    told: list[tuple[int, int]] = []
    session.on_output = lambda line, level: told.append((line, level))
    session.watch_outputs("/gpio")
    session.drive("/gpio", 4, 1)
    while session.changes < 3:
        session.await_change(session.changes, 5)
    assert told == [(2, 1), (2, 0), (6, 1)]
    session.await_change(3, 0.01)
    assert session.changes == 3


def test_a_register_is_a_number(session: Qtest) -> None:
    assert session.register(0x9030418) == 0x11


def test_a_refusal_is_said_with_the_command(session: Qtest) -> None:
    with pytest.raises(LabError, match=r"QEMU refuses 'irq_intercept_out /none' .*Unknown device"):
        session.watch_outputs("/none")


def test_a_socket_that_goes_away_is_the_labs_error_each_time(session: Qtest) -> None:
    for _ in range(2):
        with pytest.raises(LabError, match=r"qtest socket .* is gone, at 'die': the VM ended"):
            session.command("die")
    with pytest.raises(LabError, match="gone, at 'waiting for an output'"):
        session.await_change(0, 60)


def test_no_answer_is_waited_for_without_end(session: Qtest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qtest, "ANSWER_LIMIT", 0.1)
    with pytest.raises(LabError, match="does not answer 'silence'"):
        session.command("silence")


def test_a_socket_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"qtest socket .* cannot be used: No such file or directory; is the VM running"):
        Qtest(tmp_path / "qtest")
