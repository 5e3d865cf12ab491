"""Run one of the project's playbooks. What it prints goes into a log; nothing that it has started outlives it.

ansible-runner was looked at (2.4.3): what it cancels or stops at a time limit is a process group, and ansible-core's workers are
not in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kmodlab.ground.ansible import ansible_settings
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.keeper import keep


def play(
    name: str,
    inventory: Path,
    log: Path,
    *arguments: str,
    seconds: float,
    held: Sequence[int] = (),
    spared: Path = Path(os.devnull),
) -> int:
    """Run a playbook to its end: Ansible's status. TimeoutExpired where it takes more than `seconds`, all of it ended then.

    `spared`: a file with words by which what is to run on is known.
    `held`: open files, a lock for example, that are kept open as long as anything of it runs.
    """
    ansible = str(Path(sys.executable).parent / "ansible-playbook")
    command = [ansible, "-i", str(inventory), *arguments, str(REPOSITORY / "playbooks" / f"{name}.yml")]
    environment = {**os.environ, **ansible_settings()}
    with log.open("ab") as output:
        return keep(command, output, seconds=seconds, environment=environment, folder=REPOSITORY, held=held, spared=spared)
