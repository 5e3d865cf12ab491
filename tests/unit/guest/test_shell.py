"""The shell on a target: a real agent on this machine stands in for the target's, and a wicked one for a broken kernel's."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from standin import StandIn

from kmodlab.guest import shell as guest
from kmodlab.guest.shell import Guest, GuestLog, GuestLostError, Shell, number


def local(script: str) -> "subprocess.Popen[bytes]":
    """Starts what would be started on the target here."""
    script = script.replace("exec python3", f"exec {shlex.quote(sys.executable)}")
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.fixture
def shell() -> Iterator[Shell]:
    shell = Shell(local)
    yield shell
    shell.close()


def wicked(answer: str) -> Shell:
    """A target that gives this answer, a shell command's output, to whatever it is asked."""
    return Shell(lambda _: local(f"while read -r job; do {answer}; done"))


def test_a_script_gives_status_and_both_outputs(shell: Shell) -> None:
    answer = shell.run("shell", "cat; echo no >&2; exit 3", "yes", 5)
    assert (answer.rc, answer.stdout, answer.stderr) == (3, "yes", "no\n")
    assert shell.run("python", "print(6 * 7)", "", 5).stdout == "42\n"


def test_a_job_that_is_over_time_says_so_and_the_next_one_gets_its_own_answer(shell: Shell) -> None:
    assert shell.run("shell", "sleep 20", "", 0.2).rc == guest.OVER
    assert shell.run("shell", "echo two", "", 5).stdout == "two\n"


class _LimitError(BaseException):
    """As pytest-timeout raises one in the middle of anything."""


def test_who_stops_waiting_does_not_put_later_answers_one_off(shell: Shell) -> None:
    shell.run("shell", "true", "", 5)

    def stop(number: int, frame: FrameType | None) -> None:
        raise _LimitError

    earlier = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(_LimitError):
            shell.run("shell", "sleep 1; echo one", "", 5)
    finally:
        signal.signal(signal.SIGALRM, earlier)
    assert shell.run("shell", "echo two", "", 5).stdout == "two\n"


def test_an_answer_that_comes_late_is_nobodys(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.run("shell", "true", "", 5)
    with monkeypatch.context() as impatient, pytest.raises(GuestLostError, match=r"no answer within 0\.2 s to: trap"):
        impatient.setattr(guest, "GRACE", 0.2)
        shell.run("shell", "trap '' TERM; sleep 1; echo one", "", 0.2)
    assert shell.run("shell", "sleep 1; echo two", "", 5).stdout == "two\n"


@pytest.mark.parametrize(
    "answer",
    [
        "echo rubbish",
        "echo '{}'",
        "echo '[]'",
        'echo \'[1, "0", "", ""]\'',
        "echo '[1, 0, 7, \"\"]'",
        "echo '[1, 0, \"\"]'",
        'echo \'[1, 1e400, "", ""]\'',
        'echo \'[2, 0, "of another job", ""]\'',
        "python3 -c \"print('[' * 100_000)\"",
        r"printf '\377\376\n'",
        "echo 'null'",
    ],
)
def test_an_answer_of_any_other_shape_costs_the_connection(answer: str) -> None:
    shell = wicked(answer)
    with pytest.raises(GuestLostError, match="the guest's answer cannot be read"):
        shell.run("shell", "true", "", 5)
    assert shell._process is None


def test_a_lost_connection_is_told_as_such() -> None:
    with pytest.raises(GuestLostError, match="the connection was lost during: true"):
        wicked("exit 0").run("shell", "true", "", 5)


def test_what_it_says_of_itself_may_be_anything() -> None:
    look = json.dumps([1, 0, "", "", {"/proc/sys/kernel/tainted": "4096 and more"}])
    with pytest.raises(GuestLostError, match="'4096 and more' is no number"):
        _ = wicked(f"echo {shlex.quote(look)}").look(5, everywhere=False)[1].tainted


def test_a_look_follows_its_script_and_tells_of_everything_though_only_news_are_sent(shell: Shell) -> None:
    first = shell.look(20, everywhere=True)[1]
    assert "null" in first.places["/dev/"].split("\n")
    answer, second = shell.look(20, everywhere=True, script="exec 3</dev/null; echo done; exit 3", timeout=5)
    assert (answer.rc, answer.stdout) == (3, "done\n")
    assert first.places.keys() <= second.places.keys()
    assert second.places["/proc/filesystems"] == first.places["/proc/filesystems"]


def test_what_is_gone_is_no_longer_told(shell: Shell) -> None:
    shell.look(20, everywhere=True)
    shell._told["/proc/of an earlier look"] = "x"
    assert "/proc/of an earlier look" in shell.look(20, everywhere=False)[1].places
    shell.close()
    assert "/proc/of an earlier look" not in shell.look(20, everywhere=True)[1].places


def test_the_newest_look_is_good_until_something_else_is_asked(shell: Shell) -> None:
    _, seen = shell.look(20, everywhere=True)
    assert shell.newest is seen
    shell.run("shell", "true", "", 5)
    assert shell.newest is None


@pytest.mark.parametrize("flood", ["yes", "head -c 1G /dev/zero"])
def test_a_flood_costs_no_memory(flood: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "LONGEST", 1 << 20)
    monkeypatch.setattr(guest, "GRACE", 1.0)
    tracemalloc.start()
    try:
        with pytest.raises(GuestLostError):
            wicked(f"exec {flood}").run("shell", "true", "", 1)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_an_outputs_first_megabytes_are_taken(shell: Shell) -> None:
    assert len(shell.run("shell", "head -c 20M /dev/zero | tr '\\0' x", "", 20).stdout) == 4 << 20


@pytest.mark.parametrize("text", ["", "x", "-1", "1 2", "9" * 30])
def test_a_number_is_one_or_the_guest_is_lost(text: str) -> None:
    assert number(" 4096\n") == 4096
    with pytest.raises(GuestLostError, match="is no number"):
        number(text)


def test_the_agent_needs_nothing_that_an_old_python_has_not() -> None:
    """It runs on targets with Python 3.9, whose grammar an AST of that version is."""
    import ast

    for path in guest.AGENTS.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[StandIn, Guest]]:
    machine = StandIn(tmp_path / "machine")
    monkeypatch.setenv("PATH", f"{machine.make()}:{os.environ['PATH']}")
    with Guest("board", Path(os.devnull), "x86_64") as here:
        yield machine, here


def test_a_session_runs_while_the_test_does_other_things(board: tuple[StandIn, Guest]) -> None:
    _, here = board
    session = here.spawn("echo ready; while read -r word; do echo got $word; done; exit 3")
    assert session.expect("ready") == "ready"
    session.send("this\nthat\n")
    assert session.expect("that") == "got that", "what came before is passed over"
    with pytest.raises(AssertionError, match=r"not print 'more' within 0\.2 s; it printed \['ready', 'got this', 'got that'\]"):
        session.expect("more", timeout=0.2)
    with pytest.raises(AssertionError, match=r"did not end within 0\.2 s"):
        session.wait(0.2)
    session.close()
    assert session.wait() == 3
    with pytest.raises(AssertionError, match="did not print 'x'"):
        session.expect("x")
    killed = here.spawn("exec sleep 60")
    killed.kill()
    assert killed.wait() != 0


def test_a_line_of_the_log_is_awaited_and_missed_in_words(board: tuple[StandIn, Guest]) -> None:
    machine, here = board
    mark = here.log.mark()
    machine.run("printk", "one: hello")
    assert here.log.expect("one: .*", mark).text == "one: hello"
    with pytest.raises(AssertionError, match="two"):
        here.log.expect("two", mark, timeout=0.2)
    (record,) = here.log.since(mark)
    assert record.text == "one: hello"


def test_a_machine_that_dies_is_lost_to_whoever_waits(board: tuple[StandIn, Guest]) -> None:
    machine, here = board
    mark = here.log.mark()
    here.sh("true")
    death = threading.Timer(0.3, machine.run, ("die",))
    death.start()
    with pytest.raises(GuestLostError):
        here.log.expect("never", mark, timeout=10)
    death.join()
    with pytest.raises(GuestLostError, match="the connection was lost during: true"):
        here.sh("true")


def test_a_command_that_fails_says_how_with_all_it_printed(board: tuple[StandIn, Guest]) -> None:
    _, here = board
    with pytest.raises(AssertionError, match=r"status 3 \(no\) of: echo yes; echo no >&2; exit 3\nstdout: yes\n\nstderr: no"):
        here.sh("echo yes; echo no >&2; exit 3")
    assert here.version == (6, 12)


def kmsg(*lines: str) -> Callable[[str], "subprocess.Popen[bytes]"]:
    """A target whose /dev/kmsg first says these lines, and then the lab's marks as its kernel numbers them."""
    said = "".join(f"{line}\n" for line in lines)
    script = f'printf %s {shlex.quote(said)}; n=100; while read -r mark; do echo "12,$n,1,-;{guest.MARK} $mark"; n=$((n+1)); done'
    return lambda _: local(script)


def test_marks_cannot_be_forged_or_hidden_by_what_a_module_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 7)
    forged = [f"4,{number},1,-;{guest.MARK} {number + 6}" for number in range(1, 5)]
    log = GuestLog(kmsg(*forged, f"3,9,1,-;BUG: kernel fault, {guest.MARK} 12"))
    try:
        mark = log.mark()
        assert mark == 100, "the kernel's own record is no mark"
        known = [record.text for record in log.known(-1)]
        assert len(known) == 5 and known[-1].startswith("BUG")
    finally:
        log.close()


TRACES = """\
      3 0xffffffffc064f01f age=10/10/10 pid=231 cpus=0
        __kmalloc_noprof+0x1f0/0x440
        0xffffffffc064f01f

      8 vmap_area_alloc+0x1f/0x80 age=1 pid=231 cpus=1
        kmem_cache_alloc_node_noprof+0x1e0/0x330
        0xffffffffc064f013

"""
"""Of a kernel 6.12: what a module that has gone allocated itself, and what the kernel did for it, and may keep."""
CALLS = "      2 0xffffffffc02c901b age=5/6/7 pid=12 cpus=1\n      9 kobject_init+0x1b/0x40 age=1 pid=1\n"
"""The same of 5.10."""
VMALLOC = """\
0xffffa07f40000000-0xffffa07f40005000   20480 irq_init_percpu_irqstack+0x10a/0x170 vmap
0xffffa07f40005000-0xffffa07f40009000   16384 0xffffffffc064f013 pages=3 vmalloc N0=3
0xffffa07f40009000-0xffffa07f4000b000    8192 unpurged vm_area
"""


def test_memory_is_told_of_those_that_the_kernel_does_not_know_any_more(board: tuple[StandIn, Guest]) -> None:
    machine, guest = board
    texts = {
        "sys/kernel/debug/slab/toys/alloc_traces": TRACES,
        "sys/kernel/slab/toys/validate": "",
        "sys/kernel/slab/old/alloc_calls": CALLS,
        "proc/vmallocinfo": VMALLOC,
    }
    for place, text in texts.items():
        (machine.folder / place).parent.mkdir(parents=True, exist_ok=True)
        (machine.folder / place).write_text(text)
    assert "memory" not in guest.look()[1].places
    guest.checks = True
    told = guest.look()[1].places["memory"]
    found = ["vmalloc(16384) 0xffffffffc064f013 1", "toys 0xffffffffc064f01f 3", "old 0xffffffffc02c901b 2"]
    assert sorted(told.splitlines()) == sorted(found)
    assert (machine.folder / "sys/kernel/slab/toys/validate").read_text() == "1", "and the kernel has looked at its marks"
