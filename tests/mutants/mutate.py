"""Put each mutation of examples/mutants.yml into a copy of this checkout, prove the copy, and say which mutations live.

A round proves one mutation of each module, so that as many rounds as the most mutated module has mutations do for all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "examples/mutants.yml"
LINK = Path(".cache/collections/ansible_collections/kmodlab")
"""Where Ansible finds the collection that a checkout is; see setup.sh."""
TOUCHED = {"vinput": ("vinput", "vkbd")}
"""Whose cells a mutation changes, where that is not only its module's."""
LIMIT = 2 * 3600.0
"""Seconds that one round may take."""
USUAL = "6.12-x86_64"
"""The kernel of a mutation that names none."""
ENOUGH = 0.95
"""Of the mutations, so many must be killed."""


@dataclass(frozen=True)
class Mutation:
    """One fault."""

    module: str
    file: str
    old: str
    new: str
    why: str
    lives: str = ""
    kernel: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The modules whose failure kills it."""
        return TOUCHED.get(self.module, (self.module,))

    def apply(self, examples: Path) -> None:
        """Put it in. ValueError where what it changes does not stand there once."""
        path = examples / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {text.count(self.old)} times: {self.old!r}")
        path.write_text(text.replace(self.old, self.new))

    def __str__(self) -> str:
        return f"{self.file}: {self.why}"


def load() -> list[Mutation]:
    """All of them, as the file has them."""
    data = yaml.safe_load(DATA.read_text())
    return [Mutation(module=module, **fields) for module, entries in data.items() for fields in entries]


def rounds(mutations: list[Mutation]) -> list[list[Mutation]]:
    """As few as there may be with no two mutations that change the same cell, nor two that ask for different kernels."""
    found: list[list[Mutation]] = []
    for mutation in mutations:
        alike = (each for each in found if each[0].kernel == mutation.kernel)
        free = (each for each in alike if not {cell for other in each for cell in other.cells} & {*mutation.cells})
        place = next(free, None)
        if place is None:
            found.append([mutation])
        else:
            place.append(mutation)
    return found


def prove(mutations: list[Mutation], kernel: str) -> Iterator[tuple[Mutation, str]]:
    """Each mutation and what became of it: "killed", "lives" or "was not tried"."""
    with tempfile.TemporaryDirectory(prefix="kmodlab-mutants-") as folder:
        copy, reports = Path(folder) / "checkout", Path(folder) / "reports"
        listed = subprocess.run(("git", "ls-files", "-z"), cwd=REPOSITORY, capture_output=True, check=True).stdout
        for name in filter(None, os.fsdecode(listed).split("\0")):
            if (REPOSITORY / name).exists():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, copy / name, follow_symlinks=False)
        (copy / LINK).mkdir(parents=True)
        (copy / LINK / "lab").symlink_to("../../../..")
        for mutation in mutations:
            mutation.apply(copy / "examples")
        only = " ".join(sorted({cell for mutation in mutations for cell in mutation.cells}))
        command = [sys.executable, "-m", "kmodlab", "matrix", "--kernels", kernel, "--modules", "examples", "--only", only]
        subprocess.run(
            [*command, "--reports", str(reports)],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=LIMIT,
        )
        results = reports / "latest/results.json"
        cells = json.loads(results.read_text())["cells"] if results.exists() else []
        found = {cell["module"]: cell for cell in cells}
        for mutation in mutations:
            yield mutation, fate([found[name] for name in mutation.cells if name in found])


def fate(cells: list[dict[str, str]]) -> str:
    """What became of a mutation, of the cells that it changes. What does not build, or was not proved, was not tried."""
    if not cells or any(cell["stage"] == "build" and cell["verdict"] != "pass" for cell in cells):
        return "was not tried"
    if any(cell["verdict"] == "fail" for cell in cells):
        return "killed"
    return "lives" if all(cell["verdict"] == "pass" for cell in cells) else "was not tried"


def main() -> int:
    """Prove all, or those of the modules that the command line names; 1 where too many live or one lives unexplained."""
    wanted = set(sys.argv[1:])
    mutations = [mutation for mutation in load() if not wanted or mutation.module in wanted]
    asked = os.environ.get("KERNELS")
    killed, bad = 0, []
    for each in rounds(mutations):
        for mutation, word in prove(each, asked or each[0].kernel or USUAL):
            killed += word == "killed"
            known = f" ({mutation.lives})" if mutation.lives and word == "lives" else ""
            print(f"{word:14} {mutation}{known}", flush=True)
            if word != "killed" and not known:
                bad.append(mutation)
    print(f"{killed} of {len(mutations)} killed on {asked or USUAL}" + ("" if asked else ", or where they say"))
    return int(bool(bad) or killed < ENOUGH * len(mutations))


if __name__ == "__main__":
    sys.exit(main())
