"""Folders that others can write to, and configuration that would hand something of ours to a machine under test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kmodlab.debian.roots import BootImage
from kmodlab.ground.errors import LabError
from kmodlab.machine.board import BoardTarget
from kmodlab.machine.runtime import runtime_dir, stop_all
from kmodlab.machine.vm import Vm
from kmodlab.plan.boards import Board
from kmodlab.plan.kernels import load_inventory


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that everybody may write to, where sockets go."""
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def test_the_runtime_folder_is_our_own(shared: Path) -> None:
    folder = runtime_dir()
    assert folder.parent == shared and folder.stat().st_mode & 0o777 == 0o700
    assert runtime_dir() == folder


@pytest.mark.parametrize("what", ["link", "file", "open"])
def test_what_a_stranger_put_in_its_place_is_refused_and_nothing_of_it_removed(what: str, shared: Path, tmp_path: Path) -> None:
    name = runtime_dir().name
    (shared / name).rmdir()
    home = tmp_path / "home"
    (home / "documents/thesis").mkdir(parents=True)
    if what == "link":
        (shared / name).symlink_to(home)
    elif what == "file":
        (shared / name).write_text("")
    else:
        (shared / name).mkdir()
        (shared / name).chmod(0o755)
    for work in (runtime_dir, stop_all):
        with pytest.raises(LabError, match=f"{name} is not a folder of yours alone; remove it, or set XDG_RUNTIME_DIR"):
            work()
    assert (home / "documents/thesis").is_dir()


def test_a_link_within_it_is_not_followed_when_it_is_emptied(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/file").write_text("")
    (runtime_dir() / "run").symlink_to(tmp_path / "home")
    (runtime_dir() / "other").mkdir()
    (runtime_dir() / "other/link").symlink_to(tmp_path / "home")
    stop_all()
    assert (tmp_path / "home/file").exists() and not (runtime_dir() / "other").exists()


GENEROUS = """\
Host *
  ForwardAgent yes
  ForwardX11 yes
  LocalForward 127.0.0.1:5000 127.0.0.1:5001
  RemoteForward 127.0.0.1:5002 127.0.0.1:22
  PermitLocalCommand yes
  LocalCommand touch /tmp/never
  Tunnel yes
Host pi.lan
  HostName 192.0.2.7
  IdentityFile ~/.ssh/for-the-pi
"""


def _settings(config: Path, host: str) -> dict[str, str]:
    """What ssh makes of a configuration."""
    answer = subprocess.run(["ssh", "-F", str(config), "-G", host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in answer.stdout.splitlines() if " " in line)


CLOSED = {"forwardagent": "no", "forwardx11": "no", "clearallforwardings": "yes", "permitlocalcommand": "no", "tunnel": "false"}


def test_a_board_gets_nothing_of_ours_whatever_the_users_own_configuration_says(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "their config").write_text(GENEROUS)
    board = Board(id="pi", board_arch="arm64", ansible_host="pi.lan", board_ssh_config=str(tmp_path / "their config"))
    found = _settings(BoardTarget(board, tmp_path / "console.log")._written_ssh_config(), "pi.lan")
    assert {name: found[name] for name in CLOSED} == CLOSED
    assert found["hostname"] == "192.0.2.7", "the way to it is the user's own"


def test_a_vm_gets_nothing_of_ours_and_its_files_may_have_any_name(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a, b;%h 'c'"))
    image = BootImage(tmp_path)
    (tmp_path / "host_key.pub").write_text("ssh-ed25519 AAAA\n")
    vm = Vm(load_inventory()["6.12-x86_64"], image, tmp_path / "x, y;%h", tmp_path / "console")
    vm.folder.mkdir()
    vm._tell_way(2222)
    found = _settings(vm.ssh_config, "6.12-x86_64")
    assert {name: found[name] for name in CLOSED} == CLOSED
    assert found["identityfile"].replace("%%", "%") == str(tmp_path / "a, b;%h 'c'/kmodlab/ssh/id_ed25519")
    assert found["controlpath"].replace("%%", "%").startswith(str(vm.folder / "ssh-"))
