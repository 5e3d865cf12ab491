"""completions: the crank turns before the flywheel spins, always; unloading waits for both threads."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("completions")


def story(guest: Guest, mark: int) -> list[str]:
    """What the machine logged since *mark*."""
    texts = [record.text for record in guest.log.since(mark)]
    return [text.removeprefix("completions: ") for text in texts if text.startswith("completions: ")]


WHOLE = ["the machine starts", "turn the crank", "the flywheel spins up", "the machine is off"]


@pytest.mark.parametrize("crank_ms", [0, 1, 50])
def test_crank_turns_first(module: ModuleUnderTest, guest: Guest, crank_ms: int) -> None:
    mark = guest.log.mark()
    for _ in range(5):
        module.load(f"crank_ms={crank_ms}")
        module.unload()
    assert story(guest, mark) == WHOLE * 5


def test_flywheel_waits_for_a_slow_crank(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    threads = guest.sh(f"insmod {module.ko} crank_ms=2000; cat /proc/[0-9]*/comm 2>/dev/null", check=False).stdout
    # Before 5.17 a thread's name is cut after fifteen characters.
    ours = {name[:15] for name in threads.split() if name.startswith("kmodlab-")}
    assert {"kmodlab-crank", "kmodlab-flywhee"} <= ours, "both threads are at it"
    guest.log.expect("the flywheel spins up", since=mark)
    module.unload()
    assert story(guest, mark) == WHOLE


def test_crank_that_would_hold_rmmod_up_for_weeks_is_refused(module: ModuleUnderTest, guest: Guest) -> None:
    for crank_ms in (60001, 4294967295):
        result = module.load(f"crank_ms={crank_ms}", check=False)
        assert result.rc != 0 and not module.is_loaded()


def test_unload_waits_for_running_threads(module: ModuleUnderTest, guest: Guest) -> None:
    """Loaded and unloaded at once: rmmod must not take the code from under the threads."""
    mark = guest.log.mark()
    none_left = "! grep -E '^kmodlab-(crank|flywh)' /proc/[0-9]*/comm 2>/dev/null"
    guest.sh(f"insmod {module.ko} crank_ms=800 && rmmod completions && {none_left}")
    assert story(guest, mark) == WHOLE
