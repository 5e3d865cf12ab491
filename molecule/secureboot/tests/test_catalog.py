"""Every example of the catalog that may load under lockdown loads, and taints nothing but O; the others say why they cannot."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "reports/latest/results.json"


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(RESULTS.read_text())["cells"]
    return found


def test_every_example_passes_or_says_why_it_cannot_run(cells: list[dict[str, Any]]) -> None:
    assert len({cell["module"] for cell in cells}) >= 32
    assert [cell for cell in cells if cell["verdict"] not in ("pass", "skip")] == []
    assert [cell for cell in cells if cell["verdict"] == "skip" and not cell["reason"]] == []
