"""What runs for this user: found again by whoever comes next, ended by name and number, and nobody else's."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmodlab.ground.errors import LabError
from kmodlab.machine.runtime import VmState, runtime_dir, state_in, stop_all, stop_in, wait_until


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return runtime_dir()


@pytest.fixture
def running(home: Path) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """The folder of a VM, and a process that has it among its arguments, as QEMU has."""
    folder = home / "run" / "6.12, x86_64"
    folder.mkdir(parents=True)
    shown = str(folder).replace(",", ",,")
    process = subprocess.Popen(["sh", "-c", "while :; do sleep 1; done", f"-drive=file={shown}/root"], start_new_session=True)
    note(folder, process.pid)
    wait_until(lambda: state_in(folder) is not None, 10, "the process does not begin")
    yield folder, process
    process.kill()
    process.wait()


def note(folder: Path, pid: int) -> None:
    (folder / "vm.json").write_text(VmState(pid=pid, port=1, accel="tcg", restored=False).model_dump_json())


def test_a_vm_is_found_again_and_ended_with_all_others(home: Path, running: tuple[Path, "subprocess.Popen[bytes]"]) -> None:
    folder, process = running
    found = state_in(folder)
    assert found and found.pid == process.pid
    assert state_in(home) is None
    assert stop_all() == 1
    assert process.wait(5) < 0 and not folder.exists()
    assert stop_all() == 0


def test_a_process_that_has_got_an_old_ones_number_is_left_alone(home: Path) -> None:
    folder = home / "run" / "6.12-x86_64"
    folder.mkdir(parents=True)
    with subprocess.Popen(["sleep", "5"]) as stranger:
        note(folder, stranger.pid)
        assert state_in(folder) is None
        assert stop_in(folder) is False
        assert stranger.poll() is None
        stranger.kill()
    assert not (folder / "vm.json").exists()


@pytest.mark.parametrize("kind", ["link", "open to others", "file"])
def test_a_name_that_somebody_else_has_taken_is_refused(home: Path, tmp_path: Path, kind: str) -> None:
    home.rmdir()
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        home.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        home.touch(0o600)
    else:
        home.mkdir()
        home.chmod(0o777)
    with pytest.raises(LabError, match="is not a folder of yours alone; remove it, or set XDG_RUNTIME_DIR"):
        runtime_dir()


def test_a_wait_has_an_end_and_a_message() -> None:
    tries = iter([False, False, True])
    wait_until(lambda: next(tries), 5, "never")
    with pytest.raises(LabError, match=r"QEMU 7 does not end \(waited 0 s\)"):
        wait_until(lambda: False, 0.05, "QEMU 7 does not end")
