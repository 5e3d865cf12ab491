"""print_string: the words reach the terminal of whoever ran insmod or rmmod, and nobody else's."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("print_string")

HELLO = b"The module has been inserted.  Hello world!\r\n"
FAREWELL = b"The module has been removed.  Farewell world!\r\n"

TERMINAL = """
import os, pty, select, sys

def on_a_terminal(*command, before=lambda: None):
    'Run a command as the leader of a session with a terminal of its own; return what appeared there, and its status.'
    pid, terminal = pty.fork()
    if not pid:
        before()
        os.execvp(command[0], command)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # what a terminal says when its last user is gone
            piece = b""
        if not piece:
            break
        shown += piece
    os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_words_reach_the_callers_terminal(module: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{TERMINAL}
assert on_a_terminal("insmod", "{module.ko}") == ({HELLO!r}, 0)
assert on_a_terminal("rmmod", "print_string") == ({FAREWELL!r}, 0)
""")


def test_words_reach_nobody_elses_terminal(module: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{TERMINAL}
others = []
for _ in range(3):
    pid, terminal = pty.fork()
    if not pid:
        os.execvp("cat", ["cat"])
    others.append((pid, terminal))
assert on_a_terminal("insmod", "{module.ko}")[0] == {HELLO!r}
assert on_a_terminal("rmmod", "print_string")[0] == {FAREWELL!r}
assert select.select([terminal for _, terminal in others], [], [], 0)[0] == []
for _, terminal in others:
    os.close(terminal)
for pid, _ in others:
    os.waitpid(pid, 0)
""")


def test_words_go_to_the_log_where_there_is_no_terminal(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    guest.sh(f"setsid insmod {module.ko} </dev/null; setsid rmmod print_string </dev/null")
    guest.log.expect("print_string: no terminal here for: .*Hello world!", since=mark)
    guest.log.expect("print_string: no terminal here for: .*Farewell world!", since=mark)


def test_stopped_terminal_does_not_hold_the_module_up(module: ModuleUnderTest, guest: Guest) -> None:
    """Ctrl-S: the words are lost, for insmod must not wait for Ctrl-Q."""
    guest.python(f"""{TERMINAL}
import termios
def stop(): termios.tcflow(1, termios.TCOOFF)
shown, status = on_a_terminal("insmod", "{module.ko}", before=stop)
assert (shown, status) == (b"", 0), (shown, status)
""")
    module.unload()


def test_terminal_that_was_hung_up_is_none(module: ModuleUnderTest, guest: Guest) -> None:
    """The caller outlives its terminal, as after a lost connection."""
    mark = guest.log.mark()
    guest.python(f"""{TERMINAL}
import signal
ready, go = os.pipe()
pid, terminal = pty.fork()
if not pid:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.write(1, b"here")
    os.read(ready, 1)
    os.execvp("insmod", ["insmod", "{module.ko}"])
assert os.read(terminal, 4) == b"here"
os.close(terminal)
os.write(go, b"x")
assert os.waitpid(pid, 0)[1] == 0
""")
    guest.log.expect("print_string: no terminal here for: .*Hello world!", since=mark)
    module.unload()
