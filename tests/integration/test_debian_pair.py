"""Debian's own kernel, given as the two packages that anybody's would be, gives the verdicts that it gives by its name."""

from pathlib import Path

import faulty
import pytest

from kmodlab.debian.archive import Resolved, download, resolve
from kmodlab.plan.kernels import load_inventory

FAULTS = Path(__file__).with_name("faults")
LIMIT = 1800
"""Seconds for the whole run, images included."""
EXPECTED = {
    "innocent": ("pass", "log", "^$"),
    "oops": ("fail", "load", "^oops: BUG: kernel NULL pointer dereference"),
    "refuses": ("fail", "load", "No such device"),
}


@pytest.mark.nightly
def test_a_pair_of_packages_is_a_kernel_as_any_other(tmp_path: Path) -> None:
    known = resolve([load_inventory()["6.12-x86_64"]])["6.12-x86_64"]
    assert isinstance(known, Resolved)
    pair = [f"linux-{kind}-{known.release}={known.version}" for kind in ("image", "headers")]
    download(known, pair, tmp_path / "pair")
    only = ("--only", " ".join(EXPECTED), "--quick")
    results = faulty.prove(tmp_path / "reports", str(tmp_path / "pair"), FAULTS, *only, limit=LIMIT)
    assert [each.release for each in results.kernels] == [known.release]
    for module, expected in EXPECTED.items():
        faulty.insist(faulty.cell(results, module), *expected)
