"""What a run takes up, and in which order."""

from pathlib import Path

import yaml

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
