"""What a run takes up, and in which order."""

from pathlib import Path

import yaml
from standin import ko

from kmodlab.build.trees import Tree
from kmodlab.debian.archive import Resolved
from kmodlab.plan.catalog import Module
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.contract import Kernel, ModuleInfo, Stage, Verdict
from kmodlab.results.folder import Planned, Run
from kmodlab.run.lab import Lab
from kmodlab.run.order import Order
from kmodlab.run.vm_column import VmColumn
from kmodlab.stages.planning import fleet


def test_a_run_on_secure_boot_leaves_out_machines_without_uefi() -> None:
    inventory = load_inventory()
    assert "6.12-arm64" in fleet(inventory, secureboot=False, group="nightly")
    secure = fleet(inventory, secureboot=True, group="nightly")
    assert secure and all(inventory[name].vm_firmware == "ovmf" for name in secure)


def test_the_slowest_kernel_begins_first(tmp_path: Path) -> None:
    names = ["6.1-x86_64", "6.12-x86_64", "6.12-debug-x86_64"]
    kernels = {name: Resolved(kernel=load_inventory()[name], release="1", version="1", sources=()) for name in names}
    order = Order(tree=Tree(origin=tmp_path, folder=tmp_path), modules=[], only=[], kernels=kernels)
    tree = yaml.safe_load(Lab(Run.create(tmp_path), order).write_inventory().read_text())
    assert list(tree["run"]["hosts"]) == ["6.12-debug-x86_64", "6.1-x86_64", "6.12-x86_64"]


def test_who_is_blocked_by_another_is_skipped_and_says_so(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    cells = [Planned(kernel="6.12", module=name) for name in ("hub", "spoke")]
    run.plan(
        [Kernel(id="6.12", arch="x86_64")], [ModuleInfo(name=name, source="", sha256="") for name in ("hub", "spoke")], cells
    )
    column = VmColumn(run, Order(tree=Tree(origin=tmp_path, folder=tmp_path), modules=[], only=[], kernels={}), "6.12")
    column.order.__dict__["catalog"] = {"hub": Module(name="hub"), "spoke": Module(name="spoke", needs=["hub"])}
    run.record("6.12", "hub", Stage.BUILD, Verdict.FAIL, "no such header")
    run.record("6.12", "spoke", Stage.BUILD, Verdict.PASS)
    assert column.alive(Stage.SIGN) == []
    spoke = run.collect().cells[1]
    assert (spoke.verdict, spoke.stage, spoke.reason) == (Verdict.SKIP, Stage.SIGN, "needs hub, which failed at build")


def column_of(tmp_path: Path, *planned: Planned, **catalog: Module) -> VmColumn:
    run = Run.create(tmp_path)
    run.plan(
        [Kernel(id="6.12", arch="x86_64")], [ModuleInfo(name=each.module, source="", sha256="") for each in planned], planned
    )
    column = VmColumn(run, Order(tree=Tree(origin=tmp_path, folder=tmp_path), modules=[], only=[], kernels={}), "6.12")
    column.order.__dict__["catalog"] = catalog or {each.module: Module(name=each.module) for each in planned}
    column.make_folders()
    return column


def built(column: VmColumn, **softdep: str) -> None:
    """Modules that would have others loaded first."""
    for name, first in softdep.items():
        column.ko(name).write_bytes(ko(name=name, softdep=f"pre: {first}"))
        if any(cell.module == name for cell in column.run.planned.cells):
            column.record(name, Stage.BUILD, Verdict.PASS)
    column.find_needs()


def test_what_a_module_turned_out_to_need_is_there_without_a_cell(tmp_path: Path) -> None:
    modules = {name: Module(name=name) for name in ("hub", "mid", "spoke")}
    column = column_of(tmp_path, Planned(kernel="6.12", module="spoke"), **modules)
    built(column, spoke="mid", mid="hub", hub="crc32c")
    assert [need.name for need in column.needs("spoke")] == ["hub", "mid"] and column.beside == ["hub", "mid"]
    assert [entry.name for entry in column.alive(Stage.SIGN)] == ["spoke"]


def test_what_a_module_turned_out_to_need_and_is_not_there_blocks_it(tmp_path: Path) -> None:
    cells = [
        Planned(kernel="6.12", module=name, skip="only for ARM" if name == "arm" else "")
        for name in ("arm", "bad", "a", "b", "c")
    ]
    names = [*(cell.module for cell in cells), "lost"]
    column = column_of(tmp_path, *cells, **{name: Module(name=name) for name in names})
    built(column, a="arm", b="bad", c="lost")
    column.record("bad", Stage.BUILD, Verdict.FAIL, "no such header")
    assert column.alive(Stage.SIGN) == []
    reasons = {cell.module: (cell.verdict, cell.reason) for cell in column.run.collect().cells}
    assert reasons["a"] == (Verdict.SKIP, "needs arm: only for ARM")
    assert reasons["b"] == (Verdict.SKIP, "needs bad, which failed at build")
    assert reasons["c"] == (Verdict.SKIP, "needs lost, which failed at build")
