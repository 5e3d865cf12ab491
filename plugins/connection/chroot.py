"""An Ansible connection to a folder: a root that is not running, entered with chroot."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

DOCUMENTATION = """
name: chroot
short_description: run tasks in a root folder with chroot
description:
  - Runs tasks as root in a folder that holds a system, so that a role for machines also makes an image.
  - Commands get a clean environment; what the controller has in its own (a virtual environment, TMPDIR,
    APT_CONFIG) means nothing in there.
author: kmodlab's contributors
extends_documentation_fragment:
  - connection_pipelining
options:
  remote_addr:
    description: The path of the root folder.
    type: path
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
"""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
}
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy")
"""What a package manager in the root needs of the controller's environment."""
display = Display()


class Connection(ConnectionBase):
    """Everything goes through `chroot ROOT`, files too: so no link in the root can lead out of it."""

    transport = "kmodlab.lab.chroot"
    has_pipelining = True

    def _connect(self) -> Connection:
        root = self._root()
        if not (root / "bin/sh").exists():
            raise AnsibleConnectionFailure(f"{root} holds no system (it has no bin/sh); check ansible_host")
        if os.geteuid() != 0:
            raise AnsibleConnectionFailure(f"{root}: only root may chroot; run ansible-playbook as root")
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Run a shell command in the root: its status, standard output and standard error."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        display.vvv(f"EXEC {cmd}", host=str(self._root()))
        answer = self._chroot(cmd, input=in_data or b"", stdout=subprocess.PIPE)
        return answer.returncode, answer.stdout, answer.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy the controller's in_path to out_path in the root."""
        super().put_file(in_path, out_path)
        if not Path(in_path).is_file():
            raise AnsibleFileNotFound(f"{in_path}: no such file on the controller")
        with Path(in_path).open("rb") as source:
            answer = self._chroot(f"cat >{shlex.quote(out_path)}", stdin=source)
        self._insist(answer, out_path)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy in_path of the root to the controller's out_path."""
        super().fetch_file(in_path, out_path)
        with Path(out_path).open("wb") as target:
            answer = self._chroot(f"cat <{shlex.quote(in_path)}", stdin=subprocess.DEVNULL, stdout=target)
        self._insist(answer, in_path)

    def close(self) -> None:
        """Nothing is kept open."""
        self._connected = False

    def _root(self) -> Path:
        return Path(self.get_option("remote_addr")).absolute()

    def _chroot(self, script: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
        environment = ENVIRONMENT | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        command = ["chroot", str(self._root()), "/bin/sh", "-c", script]
        return subprocess.run(command, stderr=subprocess.PIPE, env=environment, check=False, **streams)

    def _insist(self, answer: subprocess.CompletedProcess[bytes], path: str) -> None:
        if answer.returncode:
            raise AnsibleError(f"{self._root()}: {path}: {answer.stderr.decode(errors='replace').strip()}")
