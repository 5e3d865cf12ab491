"""Boards as the lab sees them; an `ssh` and a `labgrid-client` stand in for the way to one, and answer from files."""

import os
import re
from pathlib import Path

import pytest

from kmodlab.debian.archive import Resolved
from kmodlab.ground.errors import LabError
from kmodlab.machine import labgrid
from kmodlab.machine.board import BoardTarget, ask_boards
from kmodlab.plan.boards import load_boards
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.contract import Stage, Verdict
from kmodlab.stages import planning
from kmodlab.stages.request import Request

SSH = """\
#!/bin/sh
# Answers what is asked of a board, from the files in $BOARD; a file `down` means that it is not there.
[ "$*" = "${*#*-O exit}" ] || exit 0
[ ! -e "$BOARD/down" ] || { echo "ssh: connect to host pi.lan port 22: No route to host" >&2; exit 255; }
case "$*" in
*boot_id*) cat "$BOARD/boot" ;;
*sysrq-trigger*) echo "$*" >>"$BOARD/orders"; echo second >"$BOARD/boot" ;;
*os-release*) cat "$BOARD/facts" ;;
*python3*) while read -r order; do
    id=$(echo "$order" | sed 's/.*"id": \\([0-9]*\\).*/\\1/')
    echo "[$id, 0, \\"$(head -n 1 "$BOARD/facts")\\", \\"\\", null]"
done ;;
esac
"""
CLIENT = """\
#!/bin/sh
echo "$*" >>"$BOARD/orders"
case "$*" in
*"power cycle") [ -e "$BOARD/dead" ] || { rm -f "$BOARD/down"; echo second >"$BOARD/boot"; } ;;
*acquire) [ ! -e "$BOARD/taken" ] || { echo "error: place is already acquired by host/somebody" >&2; exit 1; } ;;
*"power get") [ ! -e "$BOARD/taken" ] ;;
esac
"""
INVENTORY = """
all:
  vars: {ansible_become: true}
  children:
    boards:
      hosts:
        pi: {board_arch: arm64, ansible_host: pi.lan, ansible_user: me, board_boot_limit: 1.5, kernel_headers_packages: [x]}
        placed: {board_arch: arm64, board_place: shelf-1, board_boot_limit: 1.5}
"""


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with what the board is like."""
    for name, script in (("ssh", SSH), ("labgrid-client", CLIENT)):
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(script)
        tool.chmod(0o755)
    state = tmp_path / "board"
    state.mkdir()
    (state / "boot").write_text("first\n")
    (state / "facts").write_text("6.12.47+rpt-rpi-v8\naarch64\ndebian-13\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("BOARD", str(state))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "boards.yml").write_text(INVENTORY)
    return state


def target(board: Path, name: str = "pi", release: str = "6.12.47+rpt-rpi-v8") -> BoardTarget:
    return BoardTarget(load_boards(board.parent / "boards.yml")[name], board / "console.log", release)


def orders(board: Path) -> list[str]:
    path = board / "orders"
    return path.read_text().splitlines() if path.exists() else []


def test_the_boards_that_come_with_the_lab_are_valid() -> None:
    boards = load_boards()
    assert {"rpi4", "rpi5", "beaglebone", "imx6"} <= set(boards)
    assert boards["rpi5"].board_gpio and boards["rpi5"].board_gpio.chip == "pinctrl-rp1"
    for each in boards.values():
        if each.board_gpio:
            assert each.board_gpio.wires
            ends = [*each.board_gpio.lines.values(), *each.board_gpio.wires.model_dump().values()]
            assert len(set(ends)) == 6, f"{each.id}: a line has two wires"


def test_a_wrong_variable_is_named(board: Path) -> None:
    (board.parent / "boards.yml").write_text(INVENTORY.replace("board_place", "board_palce"))
    with pytest.raises(LabError, match=r"boards\.yml: host placed: board_palce: Extra inputs"):
        load_boards(board.parent / "boards.yml")


def test_a_board_says_what_runs_on_it(board: Path) -> None:
    found = target(board).ask(board.parent / "boards.yml")
    assert (found.release, found.line, found.distribution) == ("6.12.47+rpt-rpi-v8", "6.12", "debian-13")


def test_ssh_is_told_what_the_inventory_says_and_then_what_the_person_does(board: Path) -> None:
    guest = target(board).guest()
    text = guest.ssh_config.read_text()
    assert (guest.name, guest.become) == ("pi.lan", True)
    assert text.startswith("Host pi.lan\n  User me\n  BatchMode yes\n")
    assert re.search(r'Match all\nInclude "\S*/\.ssh/config"\n', text)
    assert guest.command("echo 'a b'")[-1] == """sudo -n -- sh -c 'echo '"'"'a b'"'"''"""


def test_another_architecture_than_the_inventorys_is_refused(board: Path) -> None:
    (board / "facts").write_text("6.1.0\narmv7l\ndebian-12\n")
    with pytest.raises(LabError, match="board pi is armv7l, not arm64: mend its board_arch in"):
        target(board).ask(board.parent / "boards.yml")


def test_a_board_that_does_not_answer_costs_no_other(board: Path) -> None:
    (board / "down").touch()
    found = ask_boards(list(load_boards(board.parent / "boards.yml").values()), board.parent / "boards.yml")
    assert isinstance(found["pi"], LabError)
    assert re.match(r"board pi \(pi.lan\) does not answer: ssh: connect .*No route to host", str(found["pi"]))
    assert not isinstance(found["placed"], LabError), "it has a place: turned on, it answers"


def test_a_board_with_a_place_is_acquired_cycled_and_released(board: Path) -> None:
    placed = target(board, "placed")
    placed.start()
    assert placed.restore().boot == "second"
    placed.stop()
    said = [order.removeprefix("--place shelf-1 ") for order in orders(board)]
    assert [said[0], said.index("power cycle") > 0, said[-1]] == ["acquire", True, "release"]


def test_a_board_without_a_place_is_rebooted(board: Path) -> None:
    target(board).start()
    assert target(board).restore().boot == "second"
    assert "sysrq-trigger" in orders(board)[0]


@pytest.mark.parametrize(("name", "event"), [("placed", "it was power-cycled"), ("pi", "a reboot")])
def test_a_board_that_does_not_come_back_is_the_labs_error(board: Path, name: str, event: str) -> None:
    here = target(board, name)
    here.start()
    (board / "dead").touch()
    (board / "down").touch()
    with pytest.raises(LabError, match=rf"board {name} did not come back within 2 s after {event}; its console: "):
        here.restore()


def test_the_same_boot_is_not_taken_for_another(board: Path) -> None:
    here = target(board, "placed")
    here.start()
    (board / "dead").touch()
    with pytest.raises(LabError, match="did not come back"):
        here.restore()


def test_a_board_with_another_kernel_than_planned_is_refused(board: Path) -> None:
    with pytest.raises(LabError, match=r"board pi runs 6\.12\.47\+rpt-rpi-v8 now, not 6\.1\.0: start another run"):
        target(board, release="6.1.0").start()


def test_a_place_of_somebody_elses_is_refused(board: Path) -> None:
    (board / "taken").touch()
    with pytest.raises(LabError, match=r"labgrid place shelf-1 cannot be acquired: .*already acquired by host/somebody"):
        target(board, "placed").start()


def test_a_place_without_labgrid_says_how_to_get_it(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labgrid, "CLIENT", "no-such-client")
    with pytest.raises(LabError, match=r"no-such-client not found: .* run `make setup`"):
        target(board, "placed").start()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one module."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "Makefile").write_text("obj-m := one.o\n")
    (modules / "one.c").write_text("")
    return modules


def test_an_unknown_board_is_refused_with_those_there_are(board: Path, folder: Path) -> None:
    with pytest.raises(
        LabError, match=r"no kernel 'pie' in inventories/matrix/hosts\.yml; it has: .*no such board; there are: pi placed"
    ):
        planning.plan(Request(folder, "pie", boards=board.parent / "boards.yml"), board / "reports")


def test_a_board_that_is_not_there_has_its_error_cells_beside_a_kernel_that_goes_on(
    board: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (board / "down").touch()
    kernel = load_inventory()["6.12-x86_64"]
    resolved = Resolved(kernel=kernel, release="6.12.1-amd64", version="6.12.1-1", sources=())
    monkeypatch.setattr(planning, "resolve", lambda kernels, refresh: {each.id: resolved for each in kernels})
    planned = planning.plan(Request(folder, "6.12-x86_64 pi", boards=board.parent / "boards.yml"), board / "reports")
    cells = {cell.kernel: cell for cell in planned.run.collect().cells}
    assert (cells["pi"].verdict, cells["pi"].stage) == (Verdict.ERROR, Stage.BUILD)
    assert "board pi (pi.lan) does not answer" in cells["pi"].reason
    assert "does not answer" not in cells["6.12-x86_64"].reason
    kernels = {each.id: each for each in planned.run.collect().kernels}
    assert (kernels["pi"].accel, kernels["pi"].host) == ("hardware", "pi.lan")


def test_a_board_without_wires_skips_what_needs_them_with_the_reason(board: Path, folder: Path) -> None:
    (folder / "catalog.yml").write_text("schema: 1\nmodules:\n  one: {hardware: [gpio]}\n")
    planned = planning.plan(Request(folder, "pi", boards=board.parent / "boards.yml"), board / "reports")
    (cell,) = planned.run.collect().cells
    assert (cell.verdict, cell.reason) == (Verdict.SKIP, "needs gpio, which this host does not offer")
