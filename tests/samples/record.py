"""Has the fleet's kernels say what the classifier must know, and keeps it as tests/unit/judge/samples.

    python tests/samples/record.py FOLDER 6.12-x86_64 [WORD ...]

says.c has a fault for each word; `clean` is what a boot says. The machine is restored before each of them, so one kernel takes
some minutes. What nobody wants to keep of FOLDER is deleted by hand; a sample's name begins with its class (see
test_classifier.py).
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

from kmodlab.guest.shell import GuestLostError
from kmodlab.machine.runtime import stop_all
from kmodlab.run.order import Manner
from kmodlab.stages import planning, work
from kmodlab.stages.request import Request
from kmodlab.verify.worker import lines_of

HERE = Path(__file__).parent
SETTINGS = """
echo 1 >/proc/sys/kernel/hung_task_timeout_secs; echo 3 >/proc/sys/kernel/watchdog_thresh
echo 4 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout; echo 8 >/proc/sys/kernel/printk
"""
"""What takes its minutes must take seconds here."""
SLOW = {"hung-task": 6, "network-unregister": 14, "kmemleak-lost": 9, "timer-null": 2}
"""Seconds until the kernel says it."""
LIMIT = 40.0


def main(folder: Path, kernel: str, words: list[str]) -> None:
    """Record every word, or those given, on a kernel."""
    known = re.findall(r'\{ "([a-z0-9-]+)", \w+ \}', (HERE / "says.c").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    lab = planning.plan(Request(HERE, kernel, manner=Manner(quick=True)), Path(tempfile.mkdtemp()))
    for stage in ("images", "build", "sign", "boot"):
        work.run_stage(lab, kernel, stage)
    column = lab.column(kernel)
    vm = column.target
    try:
        for word in words or known:
            vm.restore()
            guest = vm.guest()
            column.deploy_to(guest)
            guest.sh(SETTINGS, check=False)
            mark = guest.log.mark()
            before = vm.console.stat().st_size
            if word == "clean":
                (folder / f"clean-{kernel}.txt").write_text("\n".join(lines_of(guest.log.since(-1))) + "\n")
                guest.close()
                continue
            leak = "; sleep 6; echo scan >/sys/kernel/debug/kmemleak; sleep 6; echo scan >/sys/kernel/debug/kmemleak"
            more = leak if word == "kmemleak-lost" else ""
            try:
                guest.sh(f"insmod /run/kmodlab/modules/says.ko what={word}{more}", check=False, timeout=LIMIT)
                time.sleep(SLOW.get(word, 0.5))
                text = "\n".join(lines_of(guest.log.since(mark)))
            except (GuestLostError, AssertionError):
                time.sleep(2)
                text = vm.console.read_bytes()[before:].decode(errors="replace").replace("\r", "")
            guest.close()
            (folder / f"{word}-{kernel}.txt").write_text(text + "\n")
            print(word, len(text.splitlines()), flush=True)
    finally:
        stop_all()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
