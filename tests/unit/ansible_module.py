"""A module of the collection, run as Ansible runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from kmodlab.ground.cache import REPOSITORY

RUN = (
    "import json, runpy, sys; from ansible.module_utils.testing import patch_module_args\n"
    "with patch_module_args(json.loads(sys.stdin.read())): runpy.run_path(sys.argv[1], run_name='__main__')"
)


def answer_of(name: str, arguments: dict[str, Any], **environment: str) -> dict[str, Any]:
    """What it says: `changed`, `failed`, `msg`, and what else it returns."""
    answer = subprocess.run(
        [sys.executable, "-c", RUN, str(REPOSITORY / "plugins/modules" / f"{name}.py")],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert answer.stdout, answer.stderr
    said: dict[str, Any] = json.loads(answer.stdout)
    return said
