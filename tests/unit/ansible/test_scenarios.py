"""Molecule finds every scenario in an environment that is activated, as its users have it."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from kmodlab.ground.cache import REPOSITORY

SCENARIOS = sorted(path.parent.name for path in (REPOSITORY / "molecule").glob("*/molecule.yml"))


def test_every_scenario_is_listed_with_its_host() -> None:
    programs = Path(sys.executable).parent
    answer = subprocess.run(
        [programs / "molecule", "list", "--format", "yaml"],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    found = {each["Scenario Name"]: each["Instance Name"] for each in yaml.safe_load(answer.stdout)}
    assert sorted(found) == SCENARIOS and found["default"] == found["enrolment"] == found["classroom"] == "host"
