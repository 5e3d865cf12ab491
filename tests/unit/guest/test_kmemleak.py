"""The kernel's report on lost memory, made one line."""

import subprocess
from pathlib import Path

import pytest

from kmodlab.guest.kmemleak import FILE, SCANS, summary

REPORT = """\
unreferenced object 0xffff88810a4e3c00 (size 128):
  comm "insmod", pid 402, jiffies 4294902313
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 0):
    [<0000000012345678>] __kmalloc_cache_noprof+0x1a3/0x2c0
unreferenced object 0xffff88810a4e3d00 (size 64):
  comm "rmmod", pid 403, jiffies 4294902400 (age 11.2s)
  hex dump (first 32 bytes):
"""


def test_how_much_and_whose() -> None:
    assert summary(REPORT) == "leak: nothing points to 192 bytes in 2 objects any more; the first, of 128, was insmod's"


def test_a_report_of_another_form_is_still_one() -> None:
    assert summary("lost: something\nmore\n") == "leak: lost: something"


@pytest.mark.parametrize(("cmdline", "seconds"), [("quiet panic=-1", "5"), ("quiet kmodlab.kmemleak_age=0.5 x=1", "0.5")])
def test_a_scan_waits_as_long_as_the_kernel_needs(tmp_path: Path, cmdline: str, seconds: str) -> None:
    (tmp_path / "cmdline").write_text(f"{cmdline}\n")
    script = SCANS.replace(FILE, f"{tmp_path}/kmemleak").replace("/proc/cmdline", f"{tmp_path}/cmdline")
    answer = subprocess.run(["sh", "-c", f"sleep() {{ echo waits $1; }}\n{script}"], capture_output=True, text=True, check=True)
    assert answer.stdout == f"waits {seconds}\nscan\n"
