"""A class in which somebody means harm: each submission gets its own verdict, in bounded time, and the machine stays whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faulty import cell, prove

from kmodlab.ground.cache import cache_dir
from kmodlab.results.contract import Results

KERNEL = "6.12-x86_64"
LIMIT = 900.0
GOOD = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("Does nothing");\n'
KBUILD = "obj-m := {name}.o\n"
FILL = "i=0; while head -c 900M /dev/zero >$(src)/$$i; do i=$$((i+1)); done"
TALKER = """\
#include <linux/delay.h>
#include <linux/kthread.h>
static struct task_struct *talker;
static int talk(void *unused)
{
	while (!kthread_should_stop()) {
		pr_info("flood \\x1b[31m of words\\n");
		cond_resched();
	}
	return 0;
}
static int __init prints_init(void)
{
	talker = kthread_run(talk, NULL, "talk");
	msleep(3000);
	return 0;
}
static void __exit prints_exit(void)
{
	kthread_stop(talker);
}
module_init(prints_init);
module_exit(prints_exit);
"""
SUBMISSIONS: dict[str, dict[str, str]] = {
    "innocent": {},
    # Rules that run while kbuild reads them.
    "forks": {"Makefile": "X := $(shell f() { f | f & }; f)\n"},
    "floods": {"Makefile": "ifneq ($(CONFIG_MODVERSIONS),)\nX := $(shell yes >&2)\nendif\n"},
    "hangs": {"Makefile": "ifneq ($(CONFIG_MODVERSIONS),)\nX := $(shell sleep 10000)\nendif\n"},
    "fills": {"Makefile": f"ifneq ($(CONFIG_MODVERSIONS),)\nX := $(shell {FILL})\nendif\n"},
    "escapes": {
        "Makefile": "X := $(shell mount -o remount,bind,rw / ; for f in /usr/bin/gcc /lib/modules/*/build/scripts/sign-file; do "
        "echo evil >$$f && echo evil; done; cat /proc/*/environ >$(src)/environ.txt)\n"
    },
    "leaks": {"notes.txt": "-> /etc/passwd"},
    "endless": {"z": "-> /dev/zero"},
    "circles": {"a": "-> ."},
    "odd": {"Makefile": "$(shell mkfifo $(src)/odd.ko; ln -s /etc/passwd $(src)/sub.ko)\n"},
    "warns": {"warns.c": GOOD + "".join(f'#warning "number {number}"\n' for number in range(30_000))},
    "colours": {"colours.c": GOOD + '#warning "\x1b[2J\x1b]0;owned\x07"\n'},
    "prints": {"prints.c": f"{GOOD}{TALKER}"},
}
VERDICTS = {
    "innocent": ("pass", "log", ""),
    "forks": ("fail|pass", "build|log", ""),  # who cannot start a process fails in many ways
    "floods": ("fail", "build", "killed: it printed more than"),
    "hangs": ("fail", "build", "killed: it did not end within"),
    "fills": ("fail", "build", "killed: it wrote more than|File size limit|No space"),
    "escapes": ("pass", "log", ""),
    "leaks": ("fail", "build", r"leaks/notes\.txt leads out of the folder, to /etc/passwd"),
    "endless": ("fail", "build", r"endless/z leads out of the folder, to /dev/zero"),
    "circles": ("pass", "log", ""),
    "odd": ("fail|pass", "build|log", ".*"),
    "warns": ("fail|pass", "build|log", "killed: it (printed more|did not end)|^$"),
    "colours": ("pass", "log", ""),
    "prints": ("fail|pass", "load|log|unload", "flooded|lost|^$"),
}


def _write(folder: Path, name: str, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for file, text in {f"{name}.c": GOOD, "Makefile": "", **files}.items():
        if text.startswith("-> "):
            (folder / file).symlink_to(text[3:])
        else:
            (folder / file).write_text(text if file != "Makefile" else f"{text}{KBUILD.format(name=name)}")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    place = tmp_path_factory.mktemp("class")
    for name, files in SUBMISSIONS.items():
        _write(place / "submissions" / name, name, files)
    return prove(place / "reports", KERNEL, place / "submissions", "--quick", "--build-limit", "12", limit=LIMIT)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_each_gets_its_own_verdict(results: Results, name: str) -> None:
    found = cell(results, name)
    verdict, stage, reason = VERDICTS[name]
    assert re.fullmatch(verdict, found.verdict) and re.search(reason, found.reason), found
    assert found.stage in stage.split("|"), found


def test_nobody_is_held_up_by_a_machine_that_one_has_broken(results: Results) -> None:
    assert {found.verdict for found in results.cells} <= {"pass", "fail"}, "nothing here is the lab's fault"
    assert all(found.seconds < 200 for found in results.cells)


def test_no_file_of_the_run_drives_a_terminal_or_grows(results: Results, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "class0/reports/latest"
    for path in (each for each in folder.resolve().rglob("*") if each.is_file() and "artefacts" not in each.parts):
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", path.read_bytes()), path
        assert path.stat().st_size < 20 << 20, path
    secrets = [path for path in folder.resolve().rglob("*") if path.is_file() and b"root:x:0:0" in path.read_bytes()]
    assert secrets == []


def test_nobody_changed_what_others_are_built_with(results: Results) -> None:
    """Who escapes would write to the build root, whose tools then work on everybody's modules."""
    roots = (cache_dir() / "images").glob(f"{KERNEL}-build-*/root")
    tools = [
        tool
        for root in roots
        for pattern in ("usr/bin/*gcc*", "usr/lib/linux-kbuild-*/scripts/sign-file")
        for tool in root.glob(pattern)
    ]
    assert tools and not any(tool.read_bytes().startswith(b"evil") for tool in tools if tool.is_file())


@pytest.mark.nightly  # it boots a machine of its own
def test_a_cache_whose_path_has_any_name_works(tmp_path: Path) -> None:
    """Copied by links from the usual one, so that only a snapshot is made anew."""
    odd = tmp_path / "a, b;%h 'c'"
    (odd / "kmodlab").mkdir(parents=True)
    usual = cache_dir()
    for name in ("ssh", "resolved", "apt", "images", "modules", "signed", "keys"):
        if (usual / name).exists():
            subprocess.run(["cp", "-a", "--reflink=auto", str(usual / name), str(odd / "kmodlab")], check=True)
    command = [sys.executable, "-m", "kmodlab", "matrix", "--kernels", KERNEL, "--only", "hello-1 ioctl", "--quick"]
    answer = subprocess.run(
        [*command, "--reports", str(odd / "reports")],
        env={**os.environ, "XDG_CACHE_HOME": str(odd)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
