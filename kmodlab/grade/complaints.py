"""What others than the compiler have to say of a submission's sources: sparse, and the kernel's checkpatch about style."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kmodlab.build import lint_c
from kmodlab.run.column import Column
from kmodlab.run.vm_column import LabColumn


def complaints(column: Column, sources: Path) -> Mapping[str, list[str]]:
    """By kind, each in a line. LabError where the lab cannot ask."""
    if not isinstance(column, LabColumn):
        return {}
    return {"sparse": lint_c.lint_folder(column.resolved, column.root, sources)}
