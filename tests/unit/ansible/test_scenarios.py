"""Molecule finds every scenario in an environment that is activated, as its users have it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
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
    assert sorted(found) == SCENARIOS and found["default"] == found["enrolment"] == "host"


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_scenario_passes_for_want_of_tests(name: str) -> None:
    """Molecule only warns where its verifier finds none."""
    folder = REPOSITORY / "molecule" / name
    verifier = yaml.safe_load((folder / "molecule.yml").read_text())["verifier"]
    tests = folder / verifier.get("directory", "tests")
    assert list(tests.rglob("test_*.py"))
    for pattern in verifier.get("additional_files_or_dirs", []):
        assert list(tests.glob(pattern)), pattern


def test_what_is_tested_is_what_is_deployed() -> None:
    (play,) = yaml.safe_load((REPOSITORY / "molecule/default/converge.yml").read_text())
    for name in ("default", "matrix"):
        options = yaml.safe_load((REPOSITORY / "molecule" / name / "molecule.yml").read_text())["verifier"]["options"]
        assert options["kmodlab-only"].split() == play["vars"]["module_build_modules"]
