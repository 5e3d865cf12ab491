"""One run of the lab: its order, and a column for each kernel."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.results.folder import Run
from kmodlab.run.board_column import BoardColumn
from kmodlab.run.column import Column
from kmodlab.run.order import Order
from kmodlab.run.vm_column import LabColumn, UmlColumn, VmColumn

FILE = "lab.json"


@dataclass(frozen=True)
class Lab:
    """A run and its order. Each stage, a process of its own, opens it anew from the run folder."""

    run: Run
    order: Order

    @classmethod
    def open(cls, folder: Path) -> Lab:
        """The lab of a run folder."""
        run = Run.open(folder)
        path = run.folder / FILE
        if not path.is_file():
            raise LabError(
                f"run {run.id} has no {FILE}: it was stopped before it was planned", hint="start another with `make matrix`"
            )
        return cls(run, Order.model_validate_json(path.read_text()))

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Those of all kernels that are there, by id. The slowest is the first to begin: at the end of the run others would not
        be there to use the processors that it leaves.
        """
        known, first = self.order.kernels, self.order.first
        kernels = sorted(known, key=lambda kernel: (not first.get(kernel), -known[kernel].kernel.vm_patience))
        return {
            **{kernel: self._column(kernel) for kernel in kernels},
            **{board: BoardColumn(self.run, self.order, board) for board in self.order.boards},
        }

    def _column(self, kernel: str) -> LabColumn:
        kind = UmlColumn if self.order.kernels[kernel].kernel.uml else VmColumn
        return kind(self.run, self.order, kernel)

    def column(self, kernel: str) -> Column:
        """That of one kernel; LabError where the run has none."""
        if kernel not in self.columns:
            raise LabError(f"run {self.run.id} has no kernel {kernel}", hint=f"it has: {' '.join(self.columns)}")
        return self.columns[kernel]

    def write_inventory(self) -> Path:
        """An Ansible inventory of this run's kernels in its folder, with which each stage's playbook can be run alone."""
        variables = {
            "kmodlab_run": str(self.run.folder),
            "ansible_connection": "local",
            "ansible_pipelining": True,  # or Ansible starts six programs to put a file where it could have been read
            "ansible_python_interpreter": sys.executable,
        }
        tree = {"run": {"vars": variables, "hosts": {kernel: {} for kernel in self.columns}}}
        path = self.run.folder / "inventory.yml"
        write_aside(path, yaml.safe_dump(tree, sort_keys=False))
        return path

    def leave(self) -> None:
        """Nothing of the run goes on on any machine."""
        for column in self.columns.values():
            column.leave()
