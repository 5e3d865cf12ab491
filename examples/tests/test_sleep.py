"""sleep: one opener at a time; the others sleep, or are told that they would, or are woken by a signal."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("sleep")

SLEEPER = """
import os, subprocess, sys, time

# A kernel shows another task's stack (not armhf), or at least where it waits (not every 5.10; and User-Mode Linux
# 6.12 reads what KASAN forbids to find that).
KTHREADD = 2
WHERE = "stack" if open(f"/proc/{KTHREADD}/stack").read() else "wchan"

def sleeper(*command):
    'Start a command that opens /proc/sleep; return when it sleeps in there.'
    process = subprocess.Popen(command or ("cat", "/proc/sleep"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 10
    while "module_open" not in open(f"/proc/{process.pid}/{WHERE}").read():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, "it does not sleep"
        time.sleep(0.02)
    return process
"""


def test_session_of_the_book(loaded: ModuleUnderTest, guest: Guest) -> None:
    cat_nonblock = f"{loaded.programs}/cat_nonblock /proc/sleep"
    assert guest.sh(cat_nonblock).stdout == "Last input:\n"

    tail = guest.spawn("tail -f /proc/sleep & echo pid $!; wait; echo tail ended")
    pid = tail.expect("^pid").split()[1]
    tail.expect("Last input:$")  # which its complaint about the size may precede on the same line
    answer = guest.sh(cat_nonblock, check=False)
    assert answer.rc != 0 and answer.stdout == "Open would block\n"
    # Each reading begins anew, and a file in /proc has no size, so tail shows it again and again, as in the book.
    tail.expect("Last input:$")

    guest.sh(f"kill {pid}")
    tail.expect("tail ended")
    assert guest.sh(cat_nonblock).stdout == "Last input:\n"


def test_last_input_is_read_back(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("echo first > /proc/sleep; echo hello > /proc/sleep; cat /proc/sleep").stdout == "Last input:hello\n"
    assert guest.sh("printf 'no newline' > /proc/sleep; cat /proc/sleep").stdout == "Last input:no newline\n"


def test_short_reads_seeks_and_sizes_of_writes(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python("""
import errno, os
f = os.open("/proc/sleep", os.O_RDWR)
def contents(): return os.pread(f, 4096, 0)
assert os.write(f, b"0123456789") == 10 and contents() == b"Last input:0123456789\\n"
os.lseek(f, 0, os.SEEK_SET)
assert b"".join(iter(lambda: os.read(f, 3), b"")) == contents()
assert os.lseek(f, 11, os.SEEK_SET) == 11 and os.read(f, 4) == b"0123"
assert os.pread(f, 10, 5000) == b""
try: os.lseek(f, 0, os.SEEK_END)
except OSError as problem: assert problem.errno == errno.EINVAL, problem
else: raise AssertionError("an end was told, which tail would take for the file's")
for text in (b"x" * 79, b"y", b""):
    assert os.write(f, text) == len(text) and contents() == b"Last input:" + text + b"\\n"
os.write(f, b"kept")
for size in (80, 81, 100000):
    try: os.write(f, b"z" * size)
    except OSError as problem: assert problem.errno == errno.EMSGSIZE, problem
    else: raise AssertionError(f"{size} bytes were accepted")
    assert contents() == b"Last input:kept\\n"
""")


def test_nonblocking_opener_is_told(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python("""
import errno, os
holder = os.open("/proc/sleep", os.O_RDONLY)
for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
    try: os.open("/proc/sleep", flags | os.O_NONBLOCK)
    except OSError as problem: assert problem.errno == errno.EAGAIN, problem
    else: raise AssertionError("opened")
os.close(holder)
os.close(os.open("/proc/sleep", os.O_RDONLY | os.O_NONBLOCK))
""")


def test_whole_queue_of_sleepers_gets_its_turn(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{SLEEPER}
holder = os.open("/proc/sleep", os.O_RDWR)
os.write(holder, b"turn")
queue = [sleeper() for _ in range(5)]
assert all(process.poll() is None for process in queue)
os.close(holder)
for process in queue:
    assert process.communicate(timeout=10)[0] == "Last input:turn\\n" and process.returncode == 0
""")


def test_only_one_at_a_time_is_inside(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python("""
import os, threading
inside, most, entered = 0, 0, 0
lock = threading.Lock()
def visit():
    global inside, most, entered
    for _ in range(50):
        f = os.open("/proc/sleep", os.O_RDONLY)
        with lock:
            inside += 1; entered += 1; most = max(most, inside)
        os.sched_yield()
        with lock: inside -= 1
        os.close(f)
threads = [threading.Thread(target=visit) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert (most, entered) == (1, 300), (most, entered)
""")


@pytest.mark.parametrize("signal", ["INT", "TERM", "KILL"])
def test_signal_wakes_a_sleeper(loaded: ModuleUnderTest, guest: Guest, signal: str) -> None:
    """And only that one; the file goes to the other when it is free."""
    guest.python(f"""{SLEEPER}
import signal
holder = os.open("/proc/sleep", os.O_RDONLY)
killed, patient = sleeper(), sleeper()
killed.send_signal(signal.SIG{signal})
assert killed.wait(10) == -signal.SIG{signal}
assert patient.poll() is None
os.close(holder)
assert patient.communicate(timeout=10)[0] == "Last input:\\n" and patient.returncode == 0
""")


def test_caught_signal_interrupts_the_open(loaded: ModuleUnderTest, guest: Guest) -> None:
    """The book's EINTR, for a handler that does not ask for a restart."""
    guest.python("""
import ctypes, errno, os, signal
libc = ctypes.CDLL(None, use_errno=True)
caught = []
signal.signal(signal.SIGALRM, lambda *_: caught.append(True))
signal.siginterrupt(signal.SIGALRM, True)
holder = os.open("/proc/sleep", os.O_RDONLY)
signal.setitimer(signal.ITIMER_REAL, 0.3)
assert libc.open(b"/proc/sleep", os.O_RDONLY) == -1
assert ctypes.get_errno() == errno.EINTR
os.close(holder)
assert caught == [True]
""")


OPENS_AND_RESTARTS = """
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, False)
f = libc.open(b"/proc/sleep", 0)
print("opened" if f >= 0 else f"error {ctypes.get_errno()}")
"""


def test_signal_that_the_program_need_not_know_of_does_not_end_the_open(loaded: ModuleUnderTest, guest: Guest) -> None:
    """A handler with SA_RESTART, and Ctrl-Z and fg: the open goes on."""
    guest.python(f"""{SLEEPER}
import signal
def state(process): return open(f"/proc/{{process.pid}}/stat").read().rpartition(")")[2].split()[0]
def await_state(process, letter):
    deadline = time.monotonic() + 10
    while state(process) != letter:
        assert process.poll() is None and time.monotonic() < deadline, (state(process), letter)
        time.sleep(0.02)

holder = os.open("/proc/sleep", os.O_RDONLY)
restarts = sleeper(sys.executable, "-c", {OPENS_AND_RESTARTS!r})
stopped = sleeper()
restarts.send_signal(signal.SIGUSR1)
stopped.send_signal(signal.SIGSTOP)
await_state(stopped, "T")
stopped.send_signal(signal.SIGCONT)
time.sleep(0.3)  # long enough to fail in: what is waited for is that nothing happens
await_state(restarts, "S")
await_state(stopped, "S")
os.close(holder)
assert restarts.communicate(timeout=10)[0] == "opened\\n"
assert stopped.communicate(timeout=10)[0] == "Last input:\\n" and stopped.returncode == 0
""")


def test_unload_is_refused_while_the_file_is_open(loaded: ModuleUnderTest, guest: Guest) -> None:
    holder = guest.spawn("exec 3</proc/sleep; echo open; read x; cat <&3")
    holder.expect("open")
    result = loaded.unload(check=False)
    assert result.rc != 0 and "in use" in result.stderr
    holder.send("go\n")
    holder.expect("Last input:")
    holder.wait()


def test_unload_is_refused_while_somebody_sleeps(loaded: ModuleUnderTest, guest: Guest) -> None:
    """A sleeper is in the module's code: it must be there when it wakes."""
    guest.python(f"""{SLEEPER}
def rmmod(): return subprocess.run(("rmmod", "sleep"), capture_output=True, text=True)
holder = os.open("/proc/sleep", os.O_RDONLY)
waiting = sleeper()
assert "in use" in rmmod().stderr
waiting.terminate(); waiting.wait(10)
waiting = sleeper()
os.close(holder)
waiting.wait(10)
assert rmmod().returncode == 0, "nobody is left, and it is still in use"
""")


def test_unload_among_openers_is_refused_or_clean(module: ModuleUnderTest, guest: Guest) -> None:
    """rmmod at any moment of an open or a close."""
    guest.sh(
        """
        rm -f /tmp/stop
        for n in 1 2 3; do
            (while [ ! -e /tmp/stop ]; do read x </proc/sleep; done 2>/dev/null) &
        done
        for n in 1 2 3 4 5 6 7 8 9 10; do
            insmod "$0" || exit 1
            for m in 1 2 3 4 5 6 7 8 9 10; do rmmod sleep 2>/dev/null && break; done
            if grep -q '^sleep ' /proc/modules; then
                touch /tmp/stop; wait; rmmod sleep || exit 2; rm /tmp/stop
                (while [ ! -e /tmp/stop ]; do read x </proc/sleep; done 2>/dev/null) &
            fi
        done
        touch /tmp/stop; wait; rm /tmp/stop""".replace("$0", module.ko),
        timeout=60,
    )
