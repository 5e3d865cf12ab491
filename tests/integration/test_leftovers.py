"""What modules leave behind, each in another of the kernel's own tables: told when they go, and no innocent is hit by it."""

from pathlib import Path

import faulty
import pytest

from kmodlab.results.contract import Results

HERE = Path(__file__).parent
LIMIT = 3600
"""Seconds for the whole run, images included."""
LEFT = "still there after unloading: "
CALLS = r"a timer or delayed work, armed, that calls {0}\+0x0/0x[0-9a-f]+ \[{1}\]"
EXPECTED = {
    "picks_up": ("pass", "log", "^$"),
    "drops": ("fail", "unload", f"{LEFT}/proc/one_for_two"),
    "picks_up_again": ("pass", "log", "^$"),
    "leaves_timer": ("fail", "unload", CALLS.format("ring", "leaves_timer")),
    "leaves_own_timer": ("fail", "unload", r"an armed timer or delayed work in timer_bases, to alarm_clock \[leaves_own_timer\]"),
    "disarms": ("pass", "log", "^$"),
    "leaves_work": ("fail", "unload", CALLS.format("work_late", "leaves_work")),
    "leaves_hrtimer": ("fail", "unload", CALLS.format("chime", "leaves_hrtimer")),
    "leaves_thread": ("fail", "unload", "the kernel's thread left_asleep"),
    "leaves_queue": ("fail", "unload", "the kernel's thread .*leaves_queue"),
    "leaves_cache": ("fail", "unload", "/sys/kernel/slab/leaves_cache"),
    "leaves_kprobe": ("fail", "unload", "a kprobe at .*do_mount"),
    "leaves_debugfs": ("fail", "unload", "/sys/kernel/debug/bdi/left_here"),
    "leaves_device": ("fail", "unload", r"a character device in cdev_map, to device \[leaves_device\]"),
    "leaves_hook": ("fail", "unload", r"a hook of netfilter .*, to accept\+0x0/0x[0-9a-f]+ \[leaves_hook\]"),
    "holds_another": ("fail", "unload", r"/proc/modules: net_failover \d"),
    "removes": ("fail", "unload", "no longer there: /proc/execdomains"),
    "fails_and_leaves": ("fail", "load", f"No such device.*{LEFT}/proc/left_by_failure"),
    "lets_go_late": ("pass", "log", "^$"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return faulty.prove(tmp_path_factory.mktemp("reports"), "6.12-x86_64", HERE / "leftovers", "--quick", limit=LIMIT)


@pytest.mark.parametrize("module", EXPECTED)
def test_what_is_left_is_told_of_who_left_it(results: Results, module: str) -> None:
    faulty.insist(faulty.cell(results, module), *EXPECTED[module])
