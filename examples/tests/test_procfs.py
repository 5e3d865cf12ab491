"""procfs1 to procfs4: what a file promises to whoever reads, writes and seeks in any way at all."""

import pytest
from slow_memory import SLOW_MEMORY

from kmodlab.guest.shell import Guest, Result
from kmodlab.verify.module import ModuleUnderTest

PROMISES_OF_A_READ_FILE = """
import os, sys
path, expected = sys.argv[1], sys.argv[2].encode()
f = os.open(path, os.O_RDONLY)
for size in (1, 3, len(expected), 4096):
    assert os.lseek(f, 0, os.SEEK_SET) == 0
    pieces = []
    while piece := os.read(f, size):
        assert len(piece) <= size, (size, piece)
        pieces.append(piece)
    assert b"".join(pieces) == expected, (size, pieces)
    assert os.read(f, size) == b"", "the end is not the end"
for at in range(len(expected) + 1):
    assert os.lseek(f, at, os.SEEK_SET) == at
    assert os.read(f, 4096) == expected[at:], at
assert os.pread(f, 5, 2) == expected[2:7]
assert os.pread(f, 5, len(expected)) == b""
assert os.pread(f, 5, 1 << 40) == b""
assert os.lseek(f, 0, os.SEEK_END) == len(expected)
assert os.lseek(f, 1, os.SEEK_SET) == 1 and os.lseek(f, 1, os.SEEK_CUR) == 2
assert os.read(f, 0) == b""
try:
    os.lseek(f, -1, os.SEEK_SET)
except OSError as problem:
    assert problem.errno == 22, problem
else:
    raise AssertionError("a seek before the beginning was accepted")
assert open(path, "rb").read() == expected
"""

BAD_ADDRESSES = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
f = os.open(sys.argv[1], os.O_RDWR if "w" in sys.argv[2] else os.O_RDONLY)
if "w" in sys.argv[2]:
    os.pwrite(f, b"something to lose", 0)
    os.lseek(f, 0, os.SEEK_SET)
before = os.pread(f, 4096, 0)
calls = [libc.read] * ("r" in sys.argv[2]) + [libc.write] * ("w" in sys.argv[2])
for call in calls:
    for address in (1, -4096):
        assert call(f, ctypes.c_void_p(address), 10) == -1, (call, address)
        assert ctypes.get_errno() == errno.EFAULT
        if "w" in sys.argv[2]:  # what nobody writes may say something else each time
            assert os.pread(f, 4096, 0) == before, "a call that failed has changed the contents"
"""

# What fits is taken, the rest is refused, and nothing beyond the buffer is ever read or written.
PROMISES_OF_A_BUFFER = """
import errno, os, sys
path, size = sys.argv[1], int(sys.argv[2])
f = os.open(path, os.O_RDWR)

def contents():
    return os.pread(f, 1 << 20, 0)

def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError as problem:
        return problem.errno
    raise AssertionError(f"{arguments} was accepted")

assert os.write(f, b"first") == 5 and contents() == b"first"
assert os.write(f, b" second") == 7 and contents() == b"first second", "a second write goes on after the first"
assert os.pwrite(f, b"new", 0) == 3 and contents() == b"new", "a write at the beginning replaces"
assert os.write(f, b"") == 0 and contents() == b"new", "nothing written, nothing changed"

full = bytes(range(1, 256)) * 17
assert os.pwrite(f, full[: size - 1], 0) == size - 1 and contents() == full[: size - 1]
assert os.pwrite(f, full[:size], 0) == size and contents() == full[:size]
assert os.pwrite(f, full[: size + 1], 0) == size and contents() == full[:size], "one byte too many"
assert os.pwrite(f, b"x" * (1 << 20), 0) == size and contents() == b"x" * size
assert os.pwrite(f, b"tail", size - 2) == 2 and contents() == b"x" * (size - 2) + b"ta"
assert refused(os.pwrite, f, b"x", size) == errno.ENOSPC
assert refused(os.pwrite, f, b"x", 1 << 40) == errno.ENOSPC

# What nobody wrote reads as zeros: not as what an earlier, longer text left there.
assert os.pwrite(f, b"a", 0) == 1 and os.pwrite(f, b"b", 9) == 1
assert contents() == b"a" + bytes(8) + b"b", contents()
assert os.lseek(f, 0, os.SEEK_END) == 10
"""

# Whatever readers see is one of the texts as a whole: of no two writers, and of no half.
RACE = """
import os, sys, threading
path, size, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
texts = [letter * size for letter in (b"a", b"b", b"c")]
seen, failed = set(), []

def guarded(work):
    def run():
        try:
            work()
        except BaseException as problem:
            failed.append(problem)
    return threading.Thread(target=run)

def writer(text):
    f = os.open(path, os.O_WRONLY)
    for _ in range(rounds):
        assert os.pwrite(f, text, 0) == size

def reader():
    f = os.open(path, os.O_RDONLY)
    for _ in range(2 * rounds):
        seen.add(os.pread(f, size, 0))

os.pwrite(os.open(path, os.O_WRONLY), texts[0], 0)
threads = [guarded(lambda text=text: writer(text)) for text in texts] + [guarded(reader) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
assert seen <= set(texts), [text[:20] + text[-20:] for text in seen - set(texts)]
"""

FILES = [
    pytest.param("/proc/helloworld", marks=pytest.mark.module("procfs1")),
    pytest.param("/proc/buffer1k", marks=pytest.mark.module("procfs2")),
    pytest.param("/proc/buffer2k", marks=pytest.mark.module("procfs3")),
    pytest.param("/proc/iter", marks=pytest.mark.module("procfs4")),
]
BUFFERS = [
    pytest.param("/proc/buffer1k", 1024, marks=pytest.mark.module("procfs2")),
    pytest.param("/proc/buffer2k", 2048, marks=pytest.mark.module("procfs3")),
]


def run(guest: Guest, code: str, *arguments: object) -> Result:
    """Run Python on the target with these arguments."""
    words = "".join(f", {str(argument)!r}" for argument in arguments)
    return guest.python(f"import sys; sys.argv[1:] = [{words[2:]}]\n{code}")


@pytest.mark.parametrize("path", FILES)
def test_unload_with_the_file_open_is_safe(loaded: ModuleUnderTest, guest: Guest, path: str) -> None:
    """/proc does not count openers: the file goes with the module, and who has it open gets an error from then on."""
    holder = guest.spawn(f"exec 3<{path}; echo open; read x; cat <&3; echo cat says $?")
    holder.expect("open")
    loaded.unload()
    assert guest.sh(f"test -e {path}", check=False).rc != 0
    holder.send("go\n")
    holder.expect("cat says [1-9]")
    holder.wait()


@pytest.mark.parametrize("path", FILES)
def test_unload_among_busy_readers_is_safe(module: ModuleUnderTest, guest: Guest, path: str) -> None:
    readers = guest.spawn(f"echo ready; while [ ! -e /tmp/stop ]; do cat {path}; done >/dev/null 2>&1; echo done")
    readers.expect("ready")
    for _ in range(4):
        module.load()
        module.unload()
    guest.sh("touch /tmp/stop")
    readers.expect("done")
    guest.sh("rm /tmp/stop")


@pytest.mark.module("procfs1")
def test_procfs1_says_hello_once(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("cat /proc/helloworld").stdout == "HelloWorld!\n"
    run(guest, PROMISES_OF_A_READ_FILE, "/proc/helloworld", "HelloWorld!\n")
    run(guest, BAD_ADDRESSES, "/proc/helloworld", "r")


@pytest.mark.module("procfs1")
def test_procfs1_logs_nothing_when_it_is_read(loaded: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    guest.sh("cat /proc/helloworld; dd if=/proc/helloworld bs=1 count=3 2>/dev/null")
    assert [record.text for record in guest.log.since(mark) if "procfs" in record.text] == []


@pytest.mark.module("procfs1")
def test_procfs1_cannot_be_written(loaded: ModuleUnderTest, guest: Guest) -> None:
    result = guest.sh("echo x > /proc/helloworld", check=False)
    assert result.rc != 0 and "error" in result.stderr.lower()


@pytest.mark.parametrize(("path", "size"), BUFFERS)
def test_buffer_keeps_its_promises(loaded: ModuleUnderTest, guest: Guest, path: str, size: int) -> None:
    run(guest, PROMISES_OF_A_BUFFER, path, size)
    run(guest, BAD_ADDRESSES, path, "rw")


@pytest.mark.parametrize(("path", "size"), BUFFERS)
def test_buffer_reads_back_what_was_written(loaded: ModuleUnderTest, guest: Guest, path: str, size: int) -> None:
    assert guest.sh(f"echo something > {path}; cat {path}").stdout == "something\n"
    run(guest, PROMISES_OF_A_READ_FILE, path, "something\n")


@pytest.mark.parametrize(("path", "size"), BUFFERS)
def test_oversized_write_is_refused_in_the_end(loaded: ModuleUnderTest, guest: Guest, path: str, size: int) -> None:
    result = guest.sh(f"head -c {size + 1} /dev/zero | tr '\\0' x | dd of={path} bs=8k", check=False)
    assert result.rc != 0 and "No space left" in result.stderr
    assert guest.sh(f"cat {path}").stdout == "x" * size


@pytest.mark.parametrize(("path", "size"), BUFFERS)
def test_readers_and_writers_at_once_see_whole_texts(loaded: ModuleUnderTest, guest: Guest, path: str, size: int) -> None:
    # procfs2 logs all that is written: not more than the kernel's log can hold.
    run(guest, RACE, path, size, 12 if loaded.name == "procfs2" else 60)


@pytest.mark.parametrize(("path", "size"), BUFFERS)
def test_reader_in_the_middle_of_its_copy_sees_one_text(loaded: ModuleUnderTest, guest: Guest, path: str, size: int) -> None:
    """The second half of a reader's memory is served late (userfaultfd). A writer that came between would tear the text."""
    answer = guest.python(f"""import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
{SLOW_MEMORY}
import threading
size = {size}
f = os.open({path!r}, os.O_RDWR)
os.pwrite(f, b"a" * size, 0)
slow = Slow()
to = slow.address + slow.size - size // 2
reader = threading.Thread(target=lambda: libc.pread(f, ctypes.c_void_p(to), size, 0))
reader.start()
slow.expect()
writer = threading.Thread(target=lambda: os.pwrite(f, b"b" * size, 0))
writer.start()
writer.join(1)  # it ends now, or waits for the reader
slow.serve()
reader.join()
writer.join()
text = ctypes.string_at(to, size)
assert text in (b"a" * size, b"b" * size), text
assert os.pread(f, 4096, 0) == b"b" * size
""")
    if answer.stdout:
        pytest.skip(answer.stdout)


# Not every image has the programs mount and umount.
MOUNTED = """
import ctypes, os
os.mkdir("/tmp/proc")
if ctypes.CDLL(None, use_errno=True).mount(b"proc", b"/tmp/proc", b"proc", 0, None):
    raise OSError(ctypes.get_errno(), "mount")
"""
UNMOUNTED = """
import ctypes, os
if ctypes.CDLL(None, use_errno=True).umount(b"/tmp/proc"):
    raise OSError(ctypes.get_errno(), "umount")
os.rmdir("/tmp/proc")
"""


@pytest.mark.module("procfs3")
def test_procfs3_knows_its_end_through_another_mount(loaded: ModuleUnderTest, guest: Guest) -> None:
    """A second mount of /proc has inodes of its own; one that is held open keeps the size that it had."""
    guest.python(MOUNTED)
    try:
        guest.python("""
import os
other = os.open("/tmp/proc/buffer2k", os.O_RDONLY)
for text in (b"hello", b"hi"):
    with open("/proc/buffer2k", "wb") as f: f.write(text)
    assert os.lseek(other, 0, os.SEEK_END) == len(text)
    assert os.pread(other, 100, 0) == text
""")
    finally:
        guest.python(UNMOUNTED)


@pytest.mark.module("procfs3")
def test_procfs3_is_not_emptied_by_truncation(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("echo kept > /proc/buffer2k; : > /proc/buffer2k; cat /proc/buffer2k").stdout == "kept\n"


@pytest.mark.module("procfs2")
def test_procfs2_logs_what_is_written(loaded: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    guest.sh("echo something > /proc/buffer1k")
    guest.log.expect(r"^procfs2: 10 bytes written: something\\n$", since=mark)


@pytest.mark.module("procfs2")
def test_procfs2_does_not_let_a_writer_fake_log_lines(loaded: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    guest.sh("printf 'a\\nfaked: b\\033[2Jc\\0d%%s' > /proc/buffer1k")
    record = guest.log.expect("^procfs2: ", since=mark)
    assert record.text == r"procfs2: 19 bytes written: a\nfaked: b\e[2Jc\0d%s"
    assert not [each for each in guest.log.since(mark) if each.text.startswith("faked")]


@pytest.mark.module("procfs3")
def test_procfs3_has_the_size_of_its_contents(loaded: ModuleUnderTest, guest: Guest) -> None:
    sizes = guest.sh("""
        stat -c %s /proc/buffer2k
        for text in hello hi; do printf $text > /proc/buffer2k; stat -c %s /proc/buffer2k; done
        echo 2 > /proc/sys/vm/drop_caches   # new inodes know the size, too
        stat -c %s /proc/buffer2k""")
    assert sizes.stdout.split() == ["0", "5", "2", "2"]


@pytest.mark.module("procfs3")
def test_procfs3_has_the_owner_that_it_was_told(module: ModuleUnderTest, guest: Guest) -> None:
    module.load("uid=65534")
    assert guest.sh("stat -c '%u %a' /proc/buffer2k").stdout == "65534 644\n"
    module.unload()
    module.load()
    assert guest.sh("stat -c '%u %a' /proc/buffer2k").stdout == "0 644\n"
    module.unload()


@pytest.mark.module("procfs3")
def test_procfs3_refuses_the_owner_who_cannot_be(module: ModuleUnderTest, guest: Guest) -> None:
    result = module.load("uid=4294967295", check=False)
    assert result.rc != 0 and "Invalid" in result.stderr


@pytest.mark.module("procfs3")
def test_procfs3_lets_only_the_owner_and_root_write(module: ModuleUnderTest, guest: Guest) -> None:
    module.load("uid=1000")
    guest.sh("chmod 666 /proc/buffer2k")
    answers = guest.python("""
import os
for user in (0, 1000, 1001):
    child = os.fork()
    if not child:
        if user: os.setgid(user); os.setuid(user)
        text = ""
        for name, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY)):
            try: os.open("/proc/buffer2k", flags)
            except PermissionError: text += f" no {name}"
            else: text += f" {name}"
        print(user, text, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
""")
    assert answers.stdout.splitlines() == ["0  read write", "1000  read write", "1001  read no write"]
    module.unload()


@pytest.mark.module("procfs4")
def test_procfs4_counts_readings(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("cat /proc/iter; cat /proc/iter; cat /proc/iter").stdout == "0\n1\n2\n"


@pytest.mark.module("procfs4")
def test_procfs4_counts_a_reading_in_pieces_once(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("dd if=/proc/iter bs=1 2>/dev/null; cat /proc/iter").stdout == "0\n1\n"


@pytest.mark.module("procfs4")
def test_procfs4_stands_any_seek(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python("""
import os
f = os.open("/proc/iter", os.O_RDONLY)
last = int(os.read(f, 100))
for _ in range(20):
    os.lseek(f, 0, os.SEEK_SET)
    now = int(os.read(f, 100))
    assert now > last, (now, last)
    last = now
    os.pread(f, 1, 1)
    assert os.pread(f, 100, 5000) == b""
assert os.lseek(f, 3, os.SEEK_SET) == 3
for offset in (-1, -(1 << 62)):
    try: os.lseek(f, offset, os.SEEK_SET)
    except OSError as problem: assert problem.errno == 22
    else: raise AssertionError(offset)
""")
    run(guest, BAD_ADDRESSES, "/proc/iter", "r")


@pytest.mark.module("procfs4")
def test_procfs4_gives_every_reader_a_number_of_its_own(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python("""
import threading
seen = []
def read():
    for _ in range(50):
        with open("/proc/iter") as f: seen.append(int(f.read()))
threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert sorted(seen) == list(range(200)), sorted(seen)
""")
