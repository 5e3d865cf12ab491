"""The signals by which a person, a timer or a terminal that goes ends a run, and the cleaning up that they do not end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """Whoever is terminated or hung up in here cleans up as one who is interrupted does: by a KeyboardInterrupt."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)


def uninterrupted(work: Callable[[], Any]) -> None:
    """Finish cleaning up, however often a person presses Ctrl-C, and whoever else would have it end."""
    here = threading.current_thread() is threading.main_thread()
    earlier = {each: signal.signal(each, signal.SIG_IGN) for each in ENDING} if here else {}
    try:
        work()
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)
