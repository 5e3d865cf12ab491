"""An installed kmodlab proves a module in a folder of its own, from another one, without a checkout."""

from pathlib import Path

import installed

from kmodlab.results.contract import Verdict
from kmodlab.results.folder import load_results

LIMIT = 3600
"""Seconds for the whole run, images included."""
SOURCE = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("Does nothing");\n'


def test_a_wheel_proves_a_module_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "wheel").mkdir()
    programs = installed.install_wheel(installed.build_wheel(tmp_path / "wheel"), tmp_path / "venv")
    modules, here = tmp_path / "modules", tmp_path / "elsewhere"
    modules.mkdir()
    here.mkdir()
    (modules / "Makefile").write_text("obj-m := hello.o\n")
    (modules / "hello.c").write_text(SOURCE)
    # Settings of somebody's own project, above the folder where kmodlab is: they are not for its tests.
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--no-such-option"\n')
    asked = ("matrix", "--kernels", "6.12-x86_64", "--modules", modules, "--quick")
    answer = installed.run(programs / "kmodlab", *asked, cwd=here, limit=LIMIT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (cell,) = load_results(here / "reports/latest").cells
    assert (cell.module, cell.verdict) == ("hello", Verdict.PASS)
    log = (here / "reports/latest/logs/6.12-x86_64/pytest.log").read_text()
    assert f"rootdir: {tmp_path}/venv/" in log and "1 passed" in log
