"""Two shards of a real run, in which a kernel is cut: joined, they are cell by cell what one run is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from kmodlab.ground.cache import REPOSITORY
from kmodlab.results.contract import Cell, Results, Stage, Verdict
from kmodlab.results.folder import load_results

KERNEL = "um-6.12"
MODULES = ("hello-1", "hello-4", "chardev", "chardev2")
LIMIT = 3600
"""Seconds for a run, images included."""


def kmodlab(*words: str | Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "kmodlab", *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def timeless(results: Results) -> dict[str, object]:
    """What they say but for times, the run's name, and what no run says twice alike: the order in which a log was looked at, and
    notices, of which a kernel has some only for the first module after it has booted.
    """
    found = results.model_dump(exclude={"run", "started", "seconds"})
    for cell in found["cells"]:
        cell["seconds"] = 0
        cell["checks"] = {(check["name"], check["verdict"], check["reason"], check["stage"]) for check in cell["checks"]}
        for each in (cell, *cell["attempts"]):
            each["seconds"] = 0
            each["findings"] = [finding for finding in each["findings"] if finding["severity"] != "notice"]
    return found


def test_joined_they_are_what_one_run_is(tmp_path: Path) -> None:
    examples = str(REPOSITORY / "examples")
    asked = ["matrix", "--quick", "--kernels", KERNEL, "--modules", examples, "--only", " ".join(MODULES)]
    slow = [Cell(kernel=KERNEL, module=name, verdict=Verdict.PASS, stage=Stage.LOG, seconds=100) for name in MODULES]
    earlier = Results(run="earlier", started="2026-11-28T00:00:00Z", seconds=400, kmodlab="0", kernels=[], modules=[], cells=slow)
    (tmp_path / "earlier.json").write_text(earlier.model_dump_json(by_alias=True))
    kmodlab(*asked, "--reports", tmp_path / "one")
    for number in (1, 2):
        kmodlab(*asked, "--reports", tmp_path / str(number), "--shard", f"{number}/2", "--balance", tmp_path / "earlier.json")
    kmodlab("merge", tmp_path / "2/latest", tmp_path / "1/latest", "--reports", tmp_path / "joined")
    owed = [{cell.module for cell in load_results(tmp_path / name / "latest").cells} for name in ("1", "2")]
    assert all(owed) and owed[0] | owed[1] == set(MODULES) and not owed[0] & owed[1]
    one, joined = (load_results(tmp_path / name / "latest") for name in ("one", "joined"))
    assert timeless(joined) == timeless(one)
    assert json.loads((tmp_path / "joined/latest/lab.json").read_text())["kernels"].keys() == {KERNEL}
