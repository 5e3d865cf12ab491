"""The kernel log of a target, read from its /dev/kmsg and kept in order, without loss or repetition.

A line is `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,more];TEXT` (Documentation/ABI/testing/dev-kmsg in Linux).
The three lowest bits of PRIORITY are the level, the others the facility; `more` may be `caller=T123`, where
the kernel has CONFIG_PRINTK_CALLER. Lines that begin with a space are a record's dictionary, not needed here.
"""

from __future__ import annotations

import bisect
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

KERNEL = 0
"""The facility of the kernel's own records. Programs that write to /dev/kmsg cannot use it."""

_RECORD = re.compile(rb"(?P<priority>\d+),(?P<seq>\d+),(?P<usec>\d+)(?:,(?P<flags>[^,;]*)(?P<more>[^;]*))?;(?P<text>.*)")
_CUT = 2048
"""Newer kernels (6.6 does, 6.1 not yet) cut a record off at this many bytes, escapes counted, and its newline with them
(PRINTK_MESSAGE_MAX in kernel/printk/internal.h): the next record then stands on the same line."""
_CALLER = re.compile(rb"caller=([TC]\d+)")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
_LONGEST = 1 << 16
"""Bytes of a line: the kernel's longest has some thousands."""
MOST_RECORDS = 50_000
"""So many are kept: what says more is flooding the log."""
_MOST_GAPS = 1000
_ANOTHER_BOOT = "known records came again with another text: this is another boot or a restored snapshot"
_TAIL = 12
"""How many of the last lines an exception shows."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `text` holds no stamp; it may hold several lines, if one printk had newlines in it."""

    seq: int
    time: float
    """Seconds since the kernel started, to the microsecond."""
    level: int
    """0 (emergency) to 7 (debug)."""
    facility: int
    """0 is the kernel, 1 a program that wrote to /dev/kmsg."""
    text: str
    continuation: bool = False
    """The kernel's hint that this goes on where an earlier record ended: a pr_cont that came too late."""
    caller: str = ""
    """In whose context it was printed: T123 (a task), C1 (an interrupt on a processor); empty where the kernel does not say."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where the log cannot be trusted to be whole."""

    after: int
    """The last sequence number before it; -1 at the very start."""
    reason: str


class LogMissError(Exception):
    """A line did not come. `pattern` is what was waited for, `last` the last lines that were seen."""

    what = ""

    def __init__(self, pattern: str, last: Sequence[Record]) -> None:
        self.pattern = pattern
        self.last = tuple(last)
        seen = "".join(f"\n    [{record.time:12.6f}] {record.text}" for record in last) or " nothing"
        super().__init__(f"{self.what} {pattern!r}; the last lines seen:{seen}")


class LogTimeout(LogMissError):  # noqa: N818 - what it is, not that it is one
    """The time was up."""

    what = "the kernel log did not show in time"


class LogEnded(LogMissError):  # noqa: N818
    """The stream ended (connection or machine lost), so that nothing more can come."""

    what = "the kernel log ended before it showed"


def parse_record(line: bytes) -> Record:
    r"""A record from its line of /dev/kmsg, with or without the newline; `\xNN` is decoded, and then UTF-8.

    Raises ValueError on anything else, a dictionary line included.
    """
    found = _RECORD.fullmatch(line.rstrip(b"\n"))
    if not found:
        raise ValueError(f"not a record of /dev/kmsg: {line[:120]!r}")
    priority = int(found["priority"])
    text = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), found["text"])
    return Record(
        seq=int(found["seq"]),
        time=int(found["usec"]) / 1e6,
        level=priority & 7,
        facility=priority >> 3,
        text=text.decode(errors="replace"),
        continuation=(found["flags"] or b"-")[:1] in (b"c", b"+"),
        caller=caller[1].decode() if (caller := _CALLER.search(found["more"] or b"")) else "",
    )


class KernelLog:
    """The log of one boot of one target: append-only, for any number of threads.

    It is fed with the output of `cat /dev/kmsg`, which starts with everything the kernel still has: after a
    reconnect the records that are known already are dropped by their sequence number. What was lost
    meanwhile, could not be read, or belongs to another boot is kept in `gaps`: a log with a gap is not clean.
    Another boot or a restored snapshot needs a new KernelLog.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._records: list[Record] = []
        self._gaps: list[Gap] = []
        self._taken = 0
        self._rest = b""
        self._stream: IO[bytes] | None = None
        self._ended = False

    @property
    def taken(self) -> int:
        """How many records have come, those that are not kept any more included."""
        with self._changed:
            return self._taken

    @property
    def gaps(self) -> list[Gap]:
        """Where something is missing, in the order it was noticed."""
        with self._changed:
            return list(self._gaps)

    @property
    def ended(self) -> bool:
        """Whether the stream that was followed has ended; a new `follow` begins anew."""
        with self._changed:
            return self._ended

    def since(self, seq: int) -> list[Record]:
        """The records after number `seq`; all of them for -1."""
        with self._changed:
            return self._records[self._index_after(seq) :]

    def feed(self, data: bytes) -> None:
        """Take a piece of the stream, cut anywhere. Only whole lines are read; the rest waits."""
        with self._changed:
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                for record in _separated(line):
                    self._take(record)
            if len(self._rest) > _LONGEST:
                self._miss(self._last_seq(), f"a line of more than {_LONGEST} bytes came: {self._rest[:80]!r}")
                self._rest = b""
            if lines:
                self._changed.notify_all()

    def follow(self, stream: IO[bytes]) -> threading.Thread:
        """Feed from `stream` in a thread of its own until it ends.

        A half line that an earlier stream left is dropped, and an earlier stream still open is read no more.
        """
        with self._changed:
            self._stream = stream
            self._rest = b""
            self._ended = False
        reader = threading.Thread(target=self._read, args=(stream,), name="kernel-log", daemon=True)
        reader.start()
        return reader

    def wait_for(self, pattern: str | re.Pattern[str], since: int, timeout: float, *, ours: bool = False) -> Record:
        """The first record after number `since` whose text `pattern` is found in, as soon as it is there.

        `ours`: only what a program wrote, which nothing that a module prints can pass for. Raises LogTimeout after `timeout`
        seconds, and LogEnded at once when the stream has ended.
        """
        regex = re.compile(pattern)
        deadline = time.monotonic() + timeout
        seen = since
        with self._changed:
            while True:
                for record in self._records[self._index_after(seen) :]:
                    if regex.search(record.text) and not (ours and record.facility == KERNEL):
                        return record
                    seen = record.seq
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    miss = LogEnded if self._ended else LogTimeout
                    raise miss(regex.pattern, self._records[self._index_after(since) :][-_TAIL:])
                self._changed.wait(left)

    def _read(self, stream: IO[bytes]) -> None:
        try:
            for line in iter(lambda: stream.readline(_LONGEST), b""):
                with self._changed:
                    if self._stream is not stream:
                        return
                    self.feed(line)
        except (OSError, ValueError):  # ValueError: the file was closed by another thread
            pass
        finally:
            with self._changed:
                if self._stream is stream:
                    self._ended = True
                    self._changed.notify_all()

    def _take(self, line: bytes) -> None:
        if not line or line.startswith(b" "):
            return
        try:
            record = parse_record(line)
        except ValueError as problem:
            self._miss(self._last_seq(), str(problem))
            return
        last = self._last_seq()
        if record.seq > last:
            if self._records and record.seq > last + 1:
                self._miss(last, f"records {last + 1} to {record.seq - 1} were lost")
            self._records.append(record)
            self._taken += 1
            if len(self._records) > MOST_RECORDS:
                self._drop(MOST_RECORDS // 4)
        elif self._contradicts(record) and Gap(last, _ANOTHER_BOOT) not in self._gaps:
            self._miss(last, _ANOTHER_BOOT)

    def _miss(self, after: int, reason: str) -> None:
        if len(self._gaps) < _MOST_GAPS:
            self._gaps.append(Gap(after, reason))

    def _drop(self, count: int) -> None:
        """Forget the oldest records. That is a gap to those only for whom they are not yet past."""
        self._miss(self._records[count - 1].seq, f"the log was flooded: no more than {MOST_RECORDS} records are kept")
        del self._records[:count]

    def _contradicts(self, record: Record) -> bool:
        index = bisect.bisect_left(self._records, record.seq, key=_seq)
        known = self._records[index]
        return known.seq == record.seq and known != record

    def _last_seq(self) -> int:
        return self._records[-1].seq if self._records else -1

    def _index_after(self, seq: int) -> int:
        return bisect.bisect_right(self._records, seq, key=_seq)


def _separated(line: bytes) -> Iterator[bytes]:
    """The records of a line: more than one where the kernel cut off the newlines of all but the last."""
    while len(line) > _CUT and _RECORD.match(line, _CUT):
        yield line[:_CUT]
        line = line[_CUT:]
    yield line


def _seq(record: Record) -> int:
    return record.seq
