"""The chroot connection: what a command sees, how files go, and what it says when there is no root."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound

PLUGIN = Path(__file__).parents[3] / "plugins/connection/chroot.py"
specification = importlib.util.spec_from_file_location("kmodlab_chroot", PLUGIN)
assert specification and specification.loader
chroot = importlib.util.module_from_spec(specification)
specification.loader.exec_module(chroot)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").touch()
    return tmp_path


@pytest.fixture
def connection(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A connection whose commands run here, without the chroot that needs root; the rest of the line is the real one."""
    real_run = subprocess.run

    def run(command: list[str], **keywords: Any) -> subprocess.CompletedProcess[bytes]:
        assert command[:2] == ["chroot", str(root)]
        return real_run(command[2:], **keywords)

    monkeypatch.setattr(chroot.subprocess, "run", run)
    monkeypatch.setattr(chroot.os, "geteuid", lambda: 0)
    monkeypatch.setattr(chroot.Connection, "get_option", lambda self, name: str(root))
    made = object.__new__(chroot.Connection)
    made._connected = False
    made._connect()
    return made


def test_a_command_has_its_output_status_and_input(connection: Any) -> None:
    assert connection.exec_command("cat; echo oops >&2; exit 3", b"in") == (3, b"in", b"oops\n")


def test_a_command_without_input_does_not_read_ours(connection: Any) -> None:
    ours, feed = os.pipe()
    os.write(feed, b"what a person types")
    os.close(feed)
    kept = os.dup(0)
    os.dup2(ours, 0)
    try:
        assert connection.exec_command("cat") == (0, b"", b"")
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(ours)


def test_the_controllers_environment_stays_outside(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setenv("APT_CONFIG", "/nowhere")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    _, output, _ = connection.exec_command("env")
    seen = dict(line.split("=", 1) for line in output.decode().splitlines())
    seen = {name: value for name, value in seen.items() if name not in ("PWD", "OLDPWD", "SHLVL", "_")}
    assert seen == chroot.ENVIRONMENT | {"https_proxy": "http://proxy:3128"}


def test_files_go_both_ways_whatever_their_names(connection: Any, tmp_path: Path) -> None:
    here, there, back = tmp_path / "a file", tmp_path / "it's; there", tmp_path / "back"
    here.write_bytes(bytes(range(256)))
    connection.put_file(str(here), str(there))
    connection.fetch_file(str(there), str(back))
    assert back.read_bytes() == there.read_bytes() == here.read_bytes()


def test_a_file_that_is_missing_is_an_error(connection: Any, tmp_path: Path) -> None:
    with pytest.raises(AnsibleFileNotFound, match="no such file on the controller"):
        connection.put_file(str(tmp_path / "missing"), str(tmp_path / "there"))
    with pytest.raises(AnsibleError, match="missing"):
        connection.fetch_file(str(tmp_path / "missing"), str(tmp_path / "back"))


def test_a_folder_without_a_system_is_named(connection: Any, root: Path) -> None:
    (root / "bin/sh").unlink()
    with pytest.raises(AnsibleConnectionFailure, match=f"{root} holds no system"):
        connection._connect()


def test_only_root_may_chroot(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(AnsibleConnectionFailure, match="run ansible-playbook as root"):
        connection._connect()
