from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from kmodlab.judge import kernel_log
from kmodlab.judge.kernel_log import KERNEL, KernelLog, LogEnded, LogTimeout, parse_record


def line(seq: int, text: str) -> bytes:
    return f"6,{seq},{seq * 1000},-;{text}\n".encode()


@contextmanager
def followed(log: KernelLog) -> Iterator[IO[bytes]]:
    """A log that follows a pipe, and the pipe's other end."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reading, os.fdopen(write_end, "wb", buffering=0) as writing:
        thread = log.follow(reading)
        yield writing
        writing.close()
        thread.join(5)
        assert not thread.is_alive()


class TestParse:
    def test_a_plain_record(self) -> None:
        record = parse_record(b"6,339,5140900,-;NET: Registered protocol family 10\n")
        assert (record.seq, record.time, record.level, record.facility) == (339, 5.1409, 6, KERNEL)
        assert record.text == "NET: Registered protocol family 10"
        assert not record.continuation

    def test_the_caller_and_fields_yet_unknown_are_passed_over(self) -> None:
        for more in ("caller=T1", "caller=C0", "caller=T123,comm=insmod"):
            assert parse_record(f"4,1,2,-,{more};a;b,c".encode()).text == "a;b,c"

    def test_the_facility_stands_above_the_level(self) -> None:
        record = parse_record(b"30,340,5690716,-;udevd[80]: starting version 181")
        assert (record.level, record.facility) == (6, 3)

    def test_the_oldest_form_has_no_flags(self) -> None:
        assert parse_record(b"5,0,0;Linux version 3.4.0").text == "Linux version 3.4.0"

    @pytest.mark.parametrize("flag", ["c", "+"])
    def test_a_continuation_is_marked(self, flag: str) -> None:
        assert parse_record(f"4,168,0,{flag};0".encode()).continuation

    def test_escapes_are_decoded_and_then_utf8(self) -> None:
        assert parse_record(rb"6,1,2,-;one\x0atwo\x09\x5cx41 \xc3\xa9").text == "one\ntwo\t\\x41 é"
        assert parse_record(rb"6,1,2,-;\xff").text == "\N{REPLACEMENT CHARACTER}"

    def test_an_empty_text_is_a_record(self) -> None:
        assert parse_record(b"6,1,2,-;").text == ""

    @pytest.mark.parametrize("bad", [b"", b" SUBSYSTEM=acpi", b"cat: /dev/kmsg: Broken pipe", b"6,1,-;x", b"x,1,2,-;y"])
    def test_anything_else_is_refused(self, bad: bytes) -> None:
        with pytest.raises(ValueError, match="not a record"):
            parse_record(bad)


class TestFeed:
    def test_every_way_to_cut_the_stream_gives_the_same_log(self) -> None:
        whole = line(0, "one") + b" SUBSYSTEM=pci\n DEVICE=+pci:0000:00:01.0\n" + line(1, "two") + line(2, "three")
        for cut in range(len(whole) + 1):
            log = KernelLog()
            log.feed(whole[:cut])
            log.feed(whole[cut:])
            assert [record.text for record in log.since(-1)] == ["one", "two", "three"]
            assert log.gaps == []

    def test_half_a_line_is_not_read(self) -> None:
        log = KernelLog()
        log.feed(line(0, "whole") + b"6,1,2,-;ha")
        assert [record.text for record in log.since(-1)] == ["whole"]

    def test_reading_again_from_the_start_repeats_nothing(self) -> None:
        log = KernelLog()
        log.feed(line(0, "one") + line(1, "two"))
        log.feed(line(0, "one") + line(1, "two") + line(2, "three"))
        assert [record.text for record in log.since(-1)] == ["one", "two", "three"]
        assert log.gaps == []

    def test_a_log_whose_start_was_overwritten_has_no_gap(self) -> None:
        log = KernelLog()
        log.feed(line(4711, "one"))
        assert ([record.seq for record in log.since(-1)], log.gaps) == ([4711], [])

    def test_a_jump_is_a_gap(self) -> None:
        log = KernelLog()
        log.feed(line(7, "one") + line(9, "two") + line(12, "three"))
        assert [gap.after for gap in log.gaps] == [7, 9]
        assert [gap.reason for gap in log.gaps] == ["records 8 to 8 were lost", "records 10 to 11 were lost"]

    def test_a_line_that_is_no_record_is_a_gap(self) -> None:
        log = KernelLog()
        log.feed(line(0, "one") + b"cat: /dev/kmsg: Broken pipe\n" + line(1, "two"))
        (gap,) = log.gaps
        assert gap.after == 0
        assert "Broken pipe" in gap.reason
        assert [record.seq for record in log.since(-1)] == [0, 1]

    def test_another_boot_is_one_gap_and_not_a_silent_loss(self) -> None:
        log = KernelLog()
        log.feed(line(0, "one") + line(1, "two") + line(2, "three"))
        log.feed(line(0, "one") + line(1, "other") + line(2, "world"))
        (gap,) = log.gaps
        assert "another boot" in gap.reason

    def test_since_gives_what_is_newer(self) -> None:
        log = KernelLog()
        log.feed(line(5, "one") + line(6, "two") + line(9, "three"))
        assert [record.seq for record in log.since(5)] == [6, 9]
        assert [record.seq for record in log.since(7)] == [9]
        assert log.since(9) == []


class TestWait:
    def test_a_line_that_is_there_is_given_at_once(self) -> None:
        log = KernelLog()
        log.feed(line(0, "mark 1") + line(1, "mark 2") + line(2, "mark 3"))
        assert log.wait_for(r"mark \d", since=0, timeout=0).text == "mark 2"

    def test_a_line_that_comes_later_wakes_the_waiter(self) -> None:
        log = KernelLog()
        with followed(log) as writing:
            later = threading.Timer(0.1, lambda: writing.write(line(0, "noise") + line(1, "kmodlab-mark 42")))
            later.start()
            started = time.monotonic()
            assert log.wait_for("kmodlab-mark 42$", since=-1, timeout=30).seq == 1
            assert time.monotonic() - started < 5
            later.join()

    def test_the_time_is_up_and_the_last_lines_are_shown(self) -> None:
        log = KernelLog()
        log.feed(b"".join(line(seq, f"line {seq}") for seq in range(40)))
        with pytest.raises(LogTimeout, match=r"'never'.*") as caught:
            log.wait_for("never", since=5, timeout=0.05)
        assert caught.value.pattern == "never"
        assert caught.value.last[-1].text == "line 39"
        assert "line 39" in str(caught.value)
        assert "line 5" not in str(caught.value)

    def test_a_stream_that_ends_wakes_the_waiter_at_once(self) -> None:
        log = KernelLog()
        with followed(log) as writing:
            writing.write(line(0, "last words"))
            threading.Timer(0.1, writing.close).start()
            started = time.monotonic()
            with pytest.raises(LogEnded, match="last words"):
                log.wait_for("never", since=-1, timeout=30)
            assert time.monotonic() - started < 5
        assert log.ended

    def test_what_came_before_the_end_is_still_found(self) -> None:
        log = KernelLog()
        with followed(log) as writing:
            writing.write(line(0, "last words"))
        assert log.ended
        assert log.wait_for("last words", since=-1, timeout=0).seq == 0


class TestFollow:
    def test_a_reconnect_begins_anew_and_forgets_the_half_line(self) -> None:
        log = KernelLog()
        with followed(log) as writing:
            writing.write(line(0, "one") + b"6,1,1000,-;tw")
        assert log.ended
        with followed(log) as writing:
            assert not log.ended
            writing.write(line(0, "one") + line(1, "two"))
            assert log.wait_for("two", since=-1, timeout=10).seq == 1
        assert log.gaps == []

    def test_the_end_of_a_replaced_stream_is_not_the_end_of_the_log(self) -> None:
        log = KernelLog()
        with followed(log) as old, followed(log) as new:
            old.write(line(0, "from the old stream"))
            old.close()
            new.write(line(0, "one"))
            assert log.wait_for("", since=-1, timeout=10).text == "one"
            assert not log.ended

    def test_a_stream_closed_under_the_reader_ends_the_log(self) -> None:
        log = KernelLog()
        stream = io.BytesIO(line(0, "one"))
        stream.close()
        log.follow(stream).join(5)
        assert log.ended

    def test_many_waiters_each_get_their_line(self) -> None:
        log = KernelLog()
        found: dict[int, int] = {}
        waiters = [threading.Thread(target=lambda n=n: found.update({n: log.wait_for(f"^{n}$", -1, 10).seq})) for n in range(8)]
        for waiter in waiters:
            waiter.start()
        for n in range(8):
            log.feed(line(n, str(n)))
        for waiter in waiters:
            waiter.join(10)
        assert found == {n: n for n in range(8)}


class TestCutRecords:
    """As 6.12 was seen to give them: a text of many escapes fills 2,048 bytes, and no newline is left for its end."""

    @staticmethod
    def cut(seq: int) -> bytes:
        return line(seq, r"\x5c" * 1024)[:2048]

    def test_records_on_one_line_are_told_apart(self) -> None:
        log = KernelLog()
        log.feed(line(1, "before") + self.cut(2) + self.cut(3) + line(4, "after"))
        assert [record.seq for record in log.since(-1)] == [1, 2, 3, 4]
        assert log.gaps == []
        assert log.since(3)[0].text == "after"

    def test_a_text_that_looks_like_a_record_is_none(self) -> None:
        log = KernelLog()
        log.feed(line(1, "x" * 2100 + "6,2,2000,-;faked"))
        assert [record.seq for record in log.since(-1)] == [1]

    def test_what_is_lost_is_a_gap_still(self) -> None:
        log = KernelLog()
        log.feed(self.cut(2) + line(4, "after"))
        assert [gap.after for gap in log.gaps] == [2]


def test_a_flood_is_kept_in_part_and_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "MOST_RECORDS", 100)
    log = KernelLog()
    for number in range(30):
        log.feed(b"6,%d,1,-;before\n" % number)
    for number in range(30, 260):
        log.feed(b"6,%d,1,-;flood\n" % number)
    assert len(log.since(-1)) <= 100 and log.since(-1)[-1].seq == 259 and log.taken == 260
    assert [gap.reason for gap in log.gaps][-1] == "the log was flooded: no more than 100 records are kept"
    later = [gap for gap in log.gaps if gap.after >= 255]
    assert later == []  # who comes later did not flood it


def test_a_line_without_end_is_not_kept() -> None:
    log = KernelLog()
    for _ in range(100):
        log.feed(b"x" * 10_000)
    assert len(log._rest) <= 70_000
    assert log.gaps and "a line of more than 65536 bytes came" in log.gaps[0].reason
    for _ in range(5000):
        log.feed(b"rubbish\n")
    assert len(log.gaps) <= 1000
