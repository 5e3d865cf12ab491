"""The collection kmodlab.lab, built and installed as `ansible-galaxy` does it, without a checkout around it."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from kmodlab.ground.cache import REPOSITORY

LICENCE = "GPL-2.0-only"
PLAY = """
- hosts: localhost
  gather_facts: false
  roles:
    - role: kmodlab.lab.student_folder
      vars: {student_folder_users: [USER], student_folder_source: SOURCE, student_folder_name: FOLDER}
"""


def ansible(collections: Path, tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A tool of Ansible's for which this is the only place with collections."""
    ours = {"ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        [Path(sys.executable).parent / tool, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **ours},
        cwd=collections,
        timeout=120,
    )


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    answer = ansible(folder, "ansible-galaxy", "collection", "build", "--output-path", folder, REPOSITORY)
    assert answer.returncode == 0, answer.stderr
    (found,) = folder.glob("kmodlab-lab-*.tar.gz")
    return found


@pytest.fixture(scope="module")
def collections(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collections")
    answer = ansible(folder, "ansible-galaxy", "collection", "install", "--offline", "-p", folder, tarball)
    assert answer.returncode == 0, answer.stderr
    return folder


def test_it_holds_what_ansible_uses_and_nothing_else(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = [Path(name) for name in archive.getnames()]
    assert {"roles", "plugins", "playbooks", "meta", "examples", "LICENSE", "README.md"} <= {name.parts[0] for name in names}
    assert not {"kmodlab", "tests", "molecule", "Makefile", "reports"} & {name.parts[0] for name in names}
    assert not [name for name in names if name.name.startswith(".") and name.name != ".clang-format"]


def test_its_playbooks_and_roles_work_from_there(collections: Path) -> None:
    lab = collections / "ansible_collections/kmodlab/lab"
    playbooks = sorted((lab / "playbooks").glob("*.yml"))
    answer = ansible(collections, "ansible-playbook", "--syntax-check", "-i", "localhost,", *playbooks)
    assert len(playbooks) > 5 and answer.returncode == 0, answer.stderr
    play = collections / "play.yml"
    words = {"USER": getpass.getuser(), "SOURCE": str(lab / "examples"), "FOLDER": "kmodlab-never"}
    play.write_text(re.sub("USER|SOURCE|FOLDER", lambda found: words[found[0]], PLAY))
    where = ("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}")
    answer = ansible(collections, "ansible-playbook", "--check", *where, play)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "changed=1" in answer.stdout and not (Path.home() / "kmodlab-never").exists()


@pytest.mark.parametrize("module", ["hand_out", "install_modules", "seat_ready", "sign_modules", "stage", "vm"])
def test_its_modules_are_documented(collections: Path, module: str) -> None:
    answer = ansible(collections, "ansible-doc", "-t", "module", f"kmodlab.lab.{module}")
    assert answer.returncode == 0, answer.stderr
    assert ("Python package kmodlab" in answer.stdout) == (module not in ("hand_out", "install_modules", "seat_ready"))


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("stage", "name=build run=/nowhere kernel=6.12-x86_64"),
        ("vm", "kernel=6.12-x86_64 folder=/nowhere"),
        ("sign_modules", "files=[]"),
    ],
)
def test_a_module_names_the_package_that_it_lacks(collections: Path, tmp_path: Path, module: str, arguments: str) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} -I "$@"\n')
    python.chmod(0o755)
    where = ("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={python}")
    answer = ansible(collections, "ansible", "localhost", *where, "-m", f"kmodlab.lab.{module}", "-a", arguments)
    assert answer.returncode == 2
    assert "Python library (kmodlab)" in answer.stdout and "Traceback" not in answer.stdout + answer.stderr


def test_licences_and_links_agree() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    galaxy = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text())
    assert project["license"] == LICENCE and galaxy["license"] == [LICENCE]
    assert "GNU GENERAL PUBLIC LICENSE\n                       Version 2, June 1991" in (REPOSITORY / "LICENSE").read_text()
    roles = {path: yaml.safe_load(path.read_text())["galaxy_info"] for path in REPOSITORY.glob("roles/*/meta/main.yml")}
    assert roles and {info["license"] for info in roles.values()} == {LICENCE}
    sources = [path for folder in ("examples", "roles", "tests") for path in (REPOSITORY / folder).rglob("*.[ch]")]
    # The kernel's older name for GPL-2.0-only (LICENSES/preferred/GPL-2.0).
    assert sources and all("SPDX-License-Identifier: GPL-2.0" in path.read_text().splitlines()[0] for path in sources)
    assert {name.lower(): link for name, link in project["urls"].items()} == {
        name: galaxy[name] for name in ("homepage", "documentation", "issues", "repository")
    }
