"""sched: the work runs in a kernel thread, and unloading waits for it."""

import re

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("sched")


def test_work_runs_in_a_worker_thread(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    module.load()
    record = guest.log.expect("work begins in ", since=mark)
    module.unload()
    assert record.text.startswith("work begins in kworker/"), record.text


def test_unload_waits_for_the_work(module: ModuleUnderTest, guest: Guest) -> None:
    """The work sleeps for half a second. Unloading at once, again and again, must not pull its code away."""
    for _ in range(3):
        mark = guest.log.mark()
        guest.sh(f"insmod {module.ko} && rmmod {module.kname}")
        ours = r"queueing work|work (begins|ends)|the queue is empty"
        texts = [record.text for record in guest.log.since(mark) if re.match(ours, record.text)]
        assert texts[-2:] == ["work ends", "the queue is empty"], texts
        assert sum(text.startswith("work begins in ") for text in texts) == 1
