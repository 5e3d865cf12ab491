"""A tree that nobody has described: `kmodlab init` describes it, and a run passes with what it wrote. On a real kernel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kmodlab.ground.cache import REPOSITORY

KERNEL = "um-6.12"
SOURCES = ("chardev.c", "chardev.h", "hello-5.c", "hello-sysfs.c", "start.c", "stop.c")
REFUSES = """\
#include <linux/module.h>
static int __init refuses_init(void)
{
	pr_err("refuses: there is no such thing here\\n");
	return -ENODEV;
}
module_init(refuses_init);
MODULE_LICENSE("GPL");
"""
MAKEFILE = """\
obj-m := chardev.o hello-5.o hello-sysfs.o startstop.o refuses.o
startstop-objs := start.o stop.o
"""


def kmodlab(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kmodlab", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.nightly
def test_what_it_writes_of_a_tree_holds_in_a_run_of_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in SOURCES:
        shutil.copy(REPOSITORY / "examples" / name, tree)
    (tree / "refuses.c").write_text(REFUSES)
    (tree / "Makefile").write_text(MAKEFILE)
    answer = kmodlab("init", str(tree), "--kernel", KERNEL)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "! refuses: cannot be looked at, and gets no entry: insmod: " in answer.stdout
    assert "the log's last words: refuses: there is no such thing here" in answer.stdout
    catalog = (tree / "catalog.yml").read_text()
    for promised in (r"^chardev: I was assigned major number \d+$", "- /dev/chardev\n", "- /sys/kernel/mymodule/myvariable\n"):
        assert promised in catalog
    assert sorted(path.name for path in (tree / "tests").iterdir()) == [
        *("test_chardev.py", "test_hello_5.py", "test_hello_sysfs.py", "test_startstop.py")
    ]
    reports = tmp_path / "reports"
    answer = kmodlab("matrix", "--kernels", KERNEL, "--modules", str(tree), "--reports", str(reports))
    cells = {cell["module"]: cell for cell in json.loads((reports / "latest/results.json").read_text())["cells"]}
    found = {name: cell["verdict"] for name, cell in cells.items()}
    assert found == dict.fromkeys(("chardev", "hello-5", "hello-sysfs", "startstop"), "pass") | {"refuses": "fail"}, cells
    tests = {name: [check["name"] for check in cell["checks"] if check["stage"] == "behaviour"] for name, cell in cells.items()}
    assert tests["chardev"] == ["test_its_files_are_there"]
    assert tests["hello-5"] == ["test_its_parameters_are_what_they_are_where_nobody_says"]
    # What no longer holds is seen: a file by another name.
    source = tree / "hello-sysfs.c"
    source.write_text(source.read_text().replace('"mymodule"', '"othermodule"'))
    kmodlab("matrix", "--kernels", KERNEL, "--modules", str(tree), "--only", "hello-sysfs", "--reports", str(reports))
    (cell,) = json.loads((reports / "latest/results.json").read_text())["cells"]
    assert cell["verdict"] == "fail" and "/sys/kernel/mymodule/myvariable" in cell["reason"], cell
