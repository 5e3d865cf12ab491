"""syscall_spy: the files that one user opens are logged, nobody else's; unloading restores the system call."""

import re

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("syscall_spy")

AS_USER = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def as_user(uid, work):
    'Do something in a child that is this user; return its exit status.'
    child = os.fork()
    if not child:
        os.setuid(uid)
        try: work()
        except BaseException as problem: print(problem, file=sys.stderr, flush=True); os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def opens(*names):
    def work():
        for name in names:
            try: os.close(os.open(name, os.O_RDONLY))
            except OSError: pass
    return work

def untouched(name):
    'The address of a name in a page that this process has never touched.'
    with open("/tmp/name", "wb") as f: f.write(name.encode() + bytes(4096))
    f = os.open("/tmp/name", os.O_RDONLY)
    libc.mmap.restype = ctypes.c_void_p
    return ctypes.c_void_p(libc.mmap(None, ctypes.c_size_t(4096), 1, 2, f, ctypes.c_long(0)))
"""


def opened(guest: Guest, mark: int, uid: int) -> list[str]:
    """The names that were logged for a user since *mark*."""
    line = re.compile(rf"^syscall_spy: user {uid}, process \d+ \(.*?\) opens: (.*)$")
    return [match[1] for record in guest.log.since(mark) if (match := line.match(record.text))]


def test_one_user_is_seen_and_not_another(module: ModuleUnderTest, guest: Guest) -> None:
    module.load("uid=4242")
    mark = guest.log.mark()
    guest.python(f"""{AS_USER}
for uid in (4242, 4243, 0):
    assert as_user(uid, opens(f"/tmp/of-{{uid}}", "/etc/hostname", "/no/such/file")) == 0
""")
    assert opened(guest, mark, 4242) == ["/tmp/of-4242", "/etc/hostname", "/no/such/file"]
    others = [record.text for record in guest.log.since(mark) if re.search("of-4243|of-0", record.text)]
    assert others == []
    module.unload()


def test_nobody_is_spied_on_unless_told(loaded: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    guest.python(f"{AS_USER}\nfor uid in (0, 4242, 65534): assert as_user(uid, opens('/etc/hostname')) == 0")
    assert not [record for record in guest.log.since(mark) if record.text.startswith("syscall_spy: user")]


def test_user_can_be_changed_while_it_spies(loaded: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    guest.python(f"""{AS_USER}
for uid in (4242, 4243):
    open("/sys/module/syscall_spy/parameters/uid", "w").write(str(uid))
    for user in (4242, 4243): assert as_user(user, opens(f"/tmp/{{uid}}")) == 0
""")
    assert opened(guest, mark, 4242) == ["/tmp/4242"]
    assert opened(guest, mark, 4243) == ["/tmp/4243"]


def test_files_are_opened_as_ever(module: ModuleUnderTest, guest: Guest) -> None:
    """The spied-on user gets the same files and the same errors."""
    module.load("uid=4242")
    guest.python(f"""{AS_USER}
def work():
    assert open("/proc/self/comm").read() == "python3\\n"
    for name, error in (("/no/such/file", 2), ("/etc/shadow", 13), ("/etc/hostname/x", 20)):
        try: os.open(name, os.O_RDONLY)
        except OSError as problem: assert problem.errno == error, problem
        else: raise AssertionError(name)
assert as_user(4242, work) == 0
""")
    module.unload()


def test_name_in_a_page_that_is_not_there_is_seen(module: ModuleUnderTest, guest: Guest) -> None:
    """A probe cannot wait for a page, so the name is read at the end of the call, when the kernel has read it, too."""
    module.load("uid=4242")
    mark = guest.log.mark()
    guest.python(f"""{AS_USER}
def work(): libc.close(libc.openat(-100, untouched("/etc/hostname"), os.O_RDONLY))
os.umask(0)
assert as_user(4242, work) == 0
""")
    assert opened(guest, mark, 4242)[-1] == "/etc/hostname"
    module.unload()


def test_bad_name_is_no_crash(module: ModuleUnderTest, guest: Guest) -> None:
    module.load("uid=4242")
    mark = guest.log.mark()
    guest.python(f"""{AS_USER}
def work():
    for address in (0, 1, -4096):
        assert libc.openat(-100, ctypes.c_void_p(address), os.O_RDONLY) == -1 and ctypes.get_errno() == 14
    try: os.open("x" * 5000, os.O_RDONLY)
    except OSError as problem: assert problem.errno == 36, problem
    opens("/tmp/two\\nlines")()
assert as_user(4242, work) == 0
""")
    unreadable = [r for r in guest.log.since(mark) if re.search("user 4242.* opens what cannot be read", r.text)]
    assert len(unreadable) == 3
    long, two = opened(guest, mark, 4242)
    assert set(long) == {"x"} and 200 < len(long) < 300
    assert two == r"/tmp/two\nlines"
    module.unload()


PROBED = """
list=/sys/kernel/debug/kprobes/list
[ -e $list ] || mount -t debugfs none /sys/kernel/debug || exit 1
grep -c sys_openat $list; [ -e $list ]"""


def test_unload_restores_the_system_call(module: ModuleUnderTest, guest: Guest) -> None:
    if guest.sh(PROBED, check=False).rc:
        pytest.skip("this kernel has no debugfs that shows its probes")
    module.load("uid=4242")
    assert int(guest.sh(PROBED).stdout) > 0
    module.unload()
    assert int(guest.sh(PROBED).stdout) == 0
    mark = guest.log.mark()
    guest.python(f"{AS_USER}\nassert as_user(4242, opens('/etc/hostname')) == 0")
    assert not [record for record in guest.log.since(mark) if "hostname" in record.text]


def test_unload_while_a_call_is_under_way(module: ModuleUnderTest, guest: Guest) -> None:
    """The caller waits in a FIFO, in the middle of a call that our function watches, and comes back when we are gone."""
    module.load("uid=4242")
    guest.sh("rm -f /tmp/fifo; mkfifo /tmp/fifo; chmod 666 /tmp/fifo")
    caller = guest.spawn(f"""exec python3 -c '
{AS_USER.replace("'", '"')}
def work():
    name = untouched("/tmp/fifo")
    print("calls", os.getpid(), flush=True)
    f = libc.openat(-100, name, os.O_RDONLY)
    print("came back with", os.read(f, 100), flush=True)
os.umask(0)
sys.exit(as_user(4242, work))'""")
    pid = caller.expect("^calls").split()[1]
    guest.sh(f"until grep -qE 'wait_for_partner|fifo_open' /proc/{pid}/stack; do :; done")
    module.unload()
    guest.sh("echo words > /tmp/fifo; rm /tmp/fifo")
    caller.expect("came back with .*words")
    assert caller.wait() == 0


def test_user_that_was_seen_is_named_and_not_the_next(module: ModuleUnderTest, guest: Guest) -> None:
    """The parameter changes while a call of the user who was spied on is under way."""
    module.load("uid=4242")
    mark = guest.log.mark()
    guest.sh("rm -f /tmp/fifo; mkfifo /tmp/fifo; chmod 666 /tmp/fifo")
    caller = guest.spawn(f"""exec python3 -c '
{AS_USER.replace("'", '"')}
def work():
    name = untouched("/tmp/fifo")
    print("calls", os.getpid(), flush=True)
    libc.openat(-100, name, os.O_RDONLY)
os.umask(0)
sys.exit(as_user(4242, work))'""")
    pid = caller.expect("^calls").split()[1]
    guest.sh(f"until grep -qE 'wait_for_partner|fifo_open' /proc/{pid}/stack; do :; done")
    guest.sh("echo 4243 > /sys/module/syscall_spy/parameters/uid; echo words > /tmp/fifo; rm /tmp/fifo")
    assert caller.wait() == 0
    assert "/tmp/fifo" in opened(guest, mark, 4242)
    assert opened(guest, mark, 4243) == []
    module.unload()


def test_unload_among_busy_callers(module: ModuleUnderTest, guest: Guest) -> None:
    """Calls between any two steps of loading and unloading.

    On one processor: QEMU 7.2 with thread=multi lets a processor go on with a breakpoint that another one has taken
    out, and kernels of any version (seen: 5.10 and 7.3) die of that; with thread=single they do not.
    """
    guest.python(
        f"""{AS_USER}
import signal, subprocess
os.sched_setaffinity(0, {{0}})
def work():
    while True: opens("/etc/hostname", "/no/such/file")()
callers = []
for _ in range(2):
    caller = os.fork()
    if not caller: os.setuid(4243); work()
    callers.append(caller)
for _ in range(5):
    subprocess.run(("insmod", "{module.ko}", "uid=4242"), check=True)
    subprocess.run(("rmmod", "{module.kname}"), check=True)
for caller in callers:
    os.kill(caller, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(caller, 0)[1]) == signal.SIGKILL, "it ended before"
""",
        timeout=60,
    )
