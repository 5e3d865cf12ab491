"""setup.sh on machines where it may not install."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kmodlab.ground.cache import REPOSITORY


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A copy of the checkout's set-up, on a machine without any of the packages, used by somebody who is not root."""
    for name in ("setup.sh", "requirements.txt", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in {"dpkg-query": "exit 1", "id": "echo 1000", "sudo": "exit 1"}.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    return tmp_path


def setup(machine: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{machine}/tools:{os.environ['PATH']}"}
    command = ["sh", str(machine / "setup.sh")]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def test_without_the_right_to_install_it_gives_the_exact_apt_line(machine: Path) -> None:
    answer = setup(machine)
    assert answer.returncode == 2
    (line,) = answer.stderr.strip().splitlines()
    assert "sudo apt-get install --yes --no-install-recommends" in line
    for package in ("mmdebstrap", "qemu-system-x86", "erofs-utils", "kmod", "bubblewrap"):
        assert f" {package}" in line
    assert not (machine / ".venv").exists()


def test_with_everything_there_an_old_python_is_refused_by_name(machine: Path) -> None:
    (machine / "tools/dpkg-query").write_text("#!/bin/sh\nprintf installed\n")
    (machine / "tools/python3").write_text("#!/bin/sh\nexit 1\n")
    (machine / "tools/python3").chmod(0o755)
    answer = setup(machine)
    assert answer.returncode == 2
    assert "python3 is older than 3.11" in answer.stderr and "make PYTHON=" in answer.stderr


@pytest.mark.parametrize(("word", "on"), [("1", True), ("yes", True), ("0", False), ("no", False), ("", False)])
def test_an_option_of_make_that_is_off_is_off(word: str, on: bool) -> None:
    command = ["make", "-n", "matrix", f"QUICK={word}", f"SECUREBOOT={word}", f"REFRESH={word}"]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert all((option in answer.stdout) == on for option in ("--quick", "--secureboot", "--refresh"))


def test_cleaning_up_installs_nothing() -> None:
    answer = subprocess.run(["make", "-n", "clean"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "setup.sh" not in answer.stdout
