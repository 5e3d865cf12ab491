"""Have kmodlab and dkms itself build packages of the archive for a kernel, and have kmodlab prove what came out: a table.

    .venv/bin/python tests/dkms/compare.py 6.12-x86_64 v4l2loopback-dkms acpi-call-dkms

Both build in the same build root, in the same sandbox; dkms's own is told by `uname` that the kernel runs. What is printed is
Markdown, which docs/dkms.md is made of. Status 1 where the two differ on any build.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kmodlab.build.build_log import word
from kmodlab.build.make import UNAME
from kmodlab.debian import dkms_package
from kmodlab.debian.archive import Resolved, resolve
from kmodlab.debian.roots import build_root
from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.sandbox import Limits
from kmodlab.plan.kernels import load_inventory

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT = 4 * 3600.0
"""Seconds that a run of all packages may take."""
BUILDING = Limits(seconds=1200)
NOT_FOR_IT = 77
"""dkms's status where a package says that it is not for a kernel (dkms 3; 2.8 has 9)."""
REAL = """\
kernelver=$1 arch=x86_64 kernel_source_dir=/lib/modules/$1/build
. /mnt/src/*/dkms.conf </dev/null
mkdir /mnt/tree
set -- -m "$PACKAGE_NAME" -v "$PACKAGE_VERSION" --dkmstree /mnt/tree --sourcetree /mnt/src
dkms add "$@" && dkms build "$@" -k "$kernelver" -a x86_64
status=$?
cat /mnt/tree/*/*/build/make.log /mnt/tree/*/*/log/make.log 2>/dev/null
exit $status
"""
"""dkms in a tree of its own: whoever builds is nobody."""


@dataclass(frozen=True)
class Row:
    """What became of a package."""

    package: str
    dkms: str
    """What dkms's own build came to: built, excluded, failed."""
    ours: str
    """The same of kmodlab's."""
    cells: dict[str, str]
    """By module what the run says of it."""

    def __str__(self) -> str:
        good = [name for name, said in self.cells.items() if said == "pass"]
        rest = [f"{name}: {said}" for name, said in self.cells.items() if said != "pass"]
        shown = f"{len(good)} of {len(self.cells)}" if self.cells else "-"
        return f"| {self.package} | {self.dkms} | {self.ours} | {shown} | {'; '.join(rest)} |".replace("\n", " ")


def by_dkms(root: Path, release: str, sources: Path) -> str:
    """What dkms's own build of a package's sources comes to."""
    with tempfile.TemporaryDirectory(prefix="kmodlab-dkms-") as work, tempfile.TemporaryDirectory() as tools:
        (Path(tools) / "uname").write_text(UNAME.format(release=release, machine="x86_64"))
        (Path(tools) / "uname").chmod(0o755)
        Path(tools).chmod(0o755)
        shutil.copytree(sources, Path(work) / "src" / sources.name, symlinks=True)
        seen = {Path(tools): Path("/usr/local/sbin")}
        answer = sandbox.run(root, ["bash", "-c", REAL, "bash", release], work=Path(work), read_only=seen, limits=BUILDING)
    if answer.status == 0:
        return "built"
    if answer.status == NOT_FOR_IT or re.search(r"does not match|is disabled for this kernel|BUILD_EXCLUSIVE", answer.output):
        return "excluded"
    return f"failed: {word(answer.output)[:160]}"


def by_kmodlab(kernel: str, packages: list[str]) -> dict[str, dict[str, str]]:
    """What a run says of each module, by package."""
    with tempfile.TemporaryDirectory(prefix="kmodlab-dkms-") as place:
        command = [".venv/bin/kmodlab", "matrix", "--quick", "--kernels", kernel, "--modules", " ".join(packages)]
        reports = Path(place) / "reports"
        subprocess.run([*command, "--reports", str(reports)], cwd=REPOSITORY, check=False, timeout=LIMIT)
        run = reports / "latest"
        if not (run / "results.json").is_file():
            sys.exit("kmodlab's run has no results")
        results, order = json.loads((run / "results.json").read_text()), json.loads((run / "lab.json").read_text())
    folders = {module["name"]: module["part"]["top"] for module in order["modules"]}
    roots = {module["name"]: module["part"]["root"] for module in order["modules"]}
    told: dict[str, dict[str, str]] = {}
    for cell in results["cells"]:
        where = folders[cell["module"]] if folders[cell["module"]] != "." else Path(roots[cell["module"]]).name
        said = cell["verdict"] if cell["verdict"] == "pass" else f"{cell['verdict']} at {cell['stage']}: {cell['reason'][:160]}"
        told.setdefault(str(where).split("/")[0], {})[cell["module"]] = said
    return told


def ours_of(cells: dict[str, str]) -> str:
    """What kmodlab's build of a package came to, of the words of its cells."""
    if not cells:
        return "no module"
    if any("fail at build" in said for said in cells.values()):
        return "failed"
    return "excluded" if all("skip at build" in said for said in cells.values()) else "built"


def rows(resolved: Resolved, packages: list[str]) -> list[Row]:
    """A row for each package that the kernel's suites have."""
    places = {}
    for package in packages:
        try:
            places[package] = dkms_package.sources(resolved, package)
        except LabError as problem:
            print(f"{package}: {problem}", file=sys.stderr)
    told = by_kmodlab(resolved.kernel.id, list(places))
    root = build_root(dkms_package.with_tools(resolved, places))
    found = []
    for package, place in places.items():
        cells = told.get(place.name, {}) if len(places) > 1 else next(iter(told.values()), {})
        found.append(Row(package, by_dkms(root, resolved.release, place), ours_of(cells), cells))
        print(found[-1], flush=True)
    return found


def main(kernel: str, *packages: str) -> None:
    """Print a kernel's table."""
    resolved = next(iter(resolve([load_inventory()[kernel]]).values()))
    if isinstance(resolved, LabError):
        sys.exit(str(resolved))
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    print(
        f"| {kernel}: {resolved.release} | dkms builds | kmodlab builds | modules that pass | the others |\n|---|---|---|---|---|"
    )
    differing = [row for row in rows(resolved, list(packages)) if row.dkms.partition(":")[0] != row.ours]
    sys.exit(f"they differ on {', '.join(row.package for row in differing)}" if differing else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
