"""ioctl and chardev2: what the commands do, and that nothing else is done for whoever asks for it."""

import pytest
from slow_memory import SLOW_MEMORY

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

IOCTL = pytest.mark.module("ioctl")
CHARDEV2 = pytest.mark.module("chardev2")

# The commands as the headers define them: direction, size, type and number.
COMMANDS = """
import ctypes, errno, fcntl, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
WRITE, READ = 1, 2
def command(direction, kind, number, size):
    return direction << 30 | size << 16 | kind << 8 | number

def ioctl(f, request, argument):
    'What the system call returns, or the negative error number; *argument* is a number or a buffer.'
    if isinstance(argument, int):
        argument = ctypes.c_void_p(argument)
    result = libc.ioctl(f, ctypes.c_ulong(request), argument)
    return -ctypes.get_errno() if result == -1 else result
"""

VALUES = f"""{COMMANDS}
VALSET, VALGET = command(WRITE, 0xEA, 0, 4), command(READ, 0xEA, 1, 4)
VALGET_NUM, VALSET_NUM = command(READ, 0xEA, 2, 4), command(0, 0xEA, 3, 0)
def opened(): return os.open("/dev/ioctltest", os.O_RDONLY)
def get(f, request=VALGET):
    buffer = ctypes.create_string_buffer(b"\\xaa" * 16, 16)
    assert ioctl(f, request, buffer) == 0
    assert buffer.raw[4:] == b"\\xaa" * 12, "it wrote more than it said"
    return struct.unpack("I", buffer.raw[:4])[0]
def set(f, value):
    assert ioctl(f, VALSET, ctypes.create_string_buffer(struct.pack("I", value), 4)) == 0
"""

# A system call as a 32-bit program makes it: push rbx; mov eax, 54 (ioctl); mov ebx, edi; mov ecx, esi; int 0x80; pop rbx; ret.
# The third argument is in edx already. A kernel without 32-bit programs kills who tries, or takes the call for one of 64 bits:
# so a child asks for its own number first, by call 20.
CALL_OF_32_BITS = f"""{VALUES}
import mmap, platform
MAP_32BIT = 0x40
page = mmap.mmap(-1, 8192, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT, 7)
where = ctypes.addressof(ctypes.c_char.from_buffer(page))
page[:16] = bytes.fromhex("53 b8 36000000 89fb 89f1 cd80 5b c3").ljust(16, b"\\xc3")
call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)(where)
data = where + 4096
f = opened()
set(f, 0xDEADBEEF)
child = os.fork()
if not child:
    page[2] = 20
    os._exit(call(0, 0, 0) != os.getpid())
if os.wait()[1]:
    print("no 32-bit programs")
    sys.exit()
"""

MESSAGES = f"""{COMMANDS}
POINTER = ctypes.sizeof(ctypes.c_void_p)
SET_MSG, GET_MSG = command(WRITE, 100, 0, POINTER), command(READ, 100, 1, POINTER)
GET_NTH_BYTE = command(READ | WRITE, 100, 2, 4)
f = os.open("/dev/char_dev", os.O_RDWR)
def get():
    buffer = ctypes.create_string_buffer(b"\\xaa" * 200, 200)
    assert ioctl(f, GET_MSG, buffer) == 0
    message = buffer.raw[: buffer.raw.index(b"\\0")]
    assert buffer.raw[len(message) + 1 :] == b"\\xaa" * (199 - len(message)), "it wrote more than the message"
    return message
def set(message): return ioctl(f, SET_MSG, ctypes.create_string_buffer(message))
"""


@IOCTL
def test_value_is_set_and_got(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{VALUES}
f = opened()
assert get(f) == 0
for value in (1, 255, 256, 0x7FFFFFFF, 0xFFFFFFFF, 0):
    set(f, value)
    assert get(f) == get(f, VALGET_NUM) == value
    assert os.pread(f, 100, 0) == b"%d\\n" % value
assert ioctl(f, VALSET_NUM, 77) == 0 and get(f) == 77
assert os.pread(f, 1, 1) == b"7" and os.pread(f, 5, 3) == b""
""")


@IOCTL
def test_commands_of_a_32_bit_program(loaded: ModuleUnderTest, guest: Guest) -> None:
    """Each of them: the kernel hands them to a function of their own, and answers some numbers itself."""
    if guest.sh("uname -m").stdout.strip() != "x86_64":
        pytest.skip("the call is made in x86 machine code")
    answer = guest.python(f"""{CALL_OF_32_BITS}
def value(): return struct.unpack("I", page[4096:4100])[0]
for request in (VALGET, VALGET_NUM):
    page[4096:4104] = bytes(8)
    assert call(f, request, data) == 0 and value() == 0xDEADBEEF, hex(request)
    assert page[4100:4104] == bytes(4), "it wrote more than it said"
page[4096:4100] = struct.pack("I", 77)
assert call(f, VALSET, data) == 0 and get(f) == 77
assert call(f, VALSET_NUM, 0xFEDCBA98) == 0 and get(f) == 0xFEDCBA98
assert call(f, VALSET + 4, data) == -errno.ENOTTY
""")
    if answer.stdout:
        pytest.skip("this kernel runs no 32-bit programs")


@IOCTL
def test_each_open_file_has_its_own_value(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{VALUES}
first, second = opened(), opened()
set(first, 11); set(second, 22)
assert (get(first), get(second)) == (11, 22)
shared = os.dup(first)
set(shared, 33)
assert get(first) == 33, "a duplicate is the same open file"
assert get(opened()) == 0, "what others set must not leak into a new file"
""")


@IOCTL
def test_unknown_command_is_no_typewriter(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{VALUES}
f = opened()
set(f, 5)
unknown = [0, 0x5401, 0xFFFFFFFF, VALSET + 4, command(READ, 0xEA, 0, 4), command(WRITE, 0xEA, 0, 8),
           command(WRITE, 0xEB, 0, 4), command(0, 0xEA, 0, 0), command(WRITE, 0xEA, 3, 4)]
answers = {{hex(request): ioctl(f, request, ctypes.create_string_buffer(64)) for request in unknown}}
assert {{*answers.values()}} == {{-errno.ENOTTY}}, answers
assert get(f) == 5
""")


@IOCTL
def test_bad_address_is_an_error(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{VALUES}
f = opened()
set(f, 5)
for request in (VALSET, VALGET, VALGET_NUM):
    for address in (0, 1, -4096):
        assert ioctl(f, request, address) == -errno.EFAULT, (hex(request), address)
assert get(f) == 5
""")


@IOCTL
def test_threads_that_share_the_file_see_whole_values(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{VALUES}
import threading
f, seen = opened(), {{0}}
def write(value):
    for _ in range(500): set(f, value)
def read():
    for _ in range(500): seen.add(get(f))
threads = [threading.Thread(target=write, args=(value,)) for value in (0x11111111, 0x22222222)]
threads += [threading.Thread(target=read) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert seen <= {{0, 0x11111111, 0x22222222}}, seen
""")


@IOCTL
def test_unload_is_refused_while_open(loaded: ModuleUnderTest, guest: Guest) -> None:
    refused_while_open(loaded, guest, "/dev/ioctltest")


@CHARDEV2
def test_chardev2_unload_is_refused_while_open(loaded: ModuleUnderTest, guest: Guest) -> None:
    refused_while_open(loaded, guest, "/dev/char_dev")


def refused_while_open(module: ModuleUnderTest, guest: Guest, path: str) -> None:
    """The file operations have an owner, so that rmmod cannot take them from under an open file."""
    holder = guest.spawn(f"exec 3<{path}; echo open; read x; cat <&3; echo cat says $?")
    holder.expect("open")
    result = module.unload(check=False)
    assert result.rc != 0 and "in use" in result.stderr
    holder.send("go\n")
    holder.expect("cat says 0")
    holder.wait()
    module.unload()


@CHARDEV2
def test_user_program_gets_its_message_back(loaded: ModuleUnderTest, guest: Guest) -> None:
    for message in ("Message passed by ioctl", "x", "y" * 79):
        given = "" if message.startswith("Message") else message
        answer = guest.sh(f"{loaded.programs}/userspace_ioctl {given}")
        assert answer.stdout == f"get_msg message: {message}\nget_nth_byte message: {message}\n"


@CHARDEV2
def test_user_program_reports_what_the_device_refuses(loaded: ModuleUnderTest, guest: Guest) -> None:
    answer = guest.sh(f"{loaded.programs}/userspace_ioctl {'z' * 80}", check=False)
    assert answer.rc != 0 and "IOCTL_SET_MSG: Message too long" in answer.stderr


@CHARDEV2
def test_message_is_exact(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{MESSAGES}
assert get() == b""
for message in (b"hello", b"a longer message than before", b"", b"\\xff\\x80\\x01", b"m" * 79, b"short"):
    assert set(message) == 0
    assert get() == message
    assert os.pread(f, 200, 0) == message, "reading the file gives the message, too"
    assert os.pread(f, 2, 1) == message[1:3] and os.pread(f, 9, len(message)) == b""
assert os.lseek(f, 0, os.SEEK_END) == 5
for size in (80, 81, 5000):
    assert set(b"n" * size) == -errno.EMSGSIZE and get() == b"short"
    try: os.write(f, b"n" * size)
    except OSError as problem: assert problem.errno == errno.EMSGSIZE
    else: raise AssertionError(size)
assert os.write(f, b"written") == 7 and get() == b"written"
assert os.write(f, b"") == 0 and get() == b"", "an empty message is one, too"
""")


@CHARDEV2
def test_nth_byte_stays_within_the_message(loaded: ModuleUnderTest, guest: Guest) -> None:
    """Without a bound this command reads the kernel's memory, byte by byte."""
    guest.python(f"""{MESSAGES}
assert set(b"a longer message that must not show") == 0 and set(b"a\\xffb") == 0
assert [ioctl(f, GET_NTH_BYTE, n) for n in range(4)] == [ord("a"), 0xFF, ord("b"), 0]
outside = [4, 5, 34, 79, 80, 81, 1000, 1 << 20, (1 << 31) - 1, -1, -2, -4096]
answers = {{n: ioctl(f, GET_NTH_BYTE, n) for n in outside}}
assert {{*answers.values()}} == {{-errno.EINVAL}}, answers
""")


@CHARDEV2
def test_chardev2_refuses_unknown_commands_and_bad_addresses(loaded: ModuleUnderTest, guest: Guest) -> None:
    guest.python(f"""{MESSAGES}
assert set(b"kept") == 0
for request in (0, 0x5401, SET_MSG + 3, SET_MSG ^ 0x100, 0xFFFFFFFF):
    assert ioctl(f, request, ctypes.create_string_buffer(200)) == -errno.ENOTTY, hex(request)
for request in (SET_MSG, GET_MSG):
    for address in (0, 1, -4096):
        assert ioctl(f, request, address) == -errno.EFAULT, (hex(request), address)
assert get() == b"kept"
""")


@CHARDEV2
def test_chardev2_second_opener_is_refused(loaded: ModuleUnderTest, guest: Guest) -> None:
    holder = guest.spawn("exec 3</dev/char_dev; echo open; read x")
    holder.expect("open")
    result = guest.sh("cat /dev/char_dev", check=False)
    assert result.rc != 0 and "busy" in result.stderr
    holder.close()
    assert guest.sh("cat /dev/char_dev").stdout == ""


@CHARDEV2
def test_children_who_share_the_file_see_whole_messages(loaded: ModuleUnderTest, guest: Guest) -> None:
    """One opener at a time may still be many tasks, so that is not all the protection that the message needs."""
    guest.python(f"""{MESSAGES}
import threading
messages = {{letter * 79 for letter in (b"a", b"b")}}
seen = {{b""}}
def write(message):
    for _ in range(300): assert set(message) == 0
def read():
    for _ in range(300): seen.add(get())
threads = [threading.Thread(target=write, args=(message,)) for message in messages]
threads += [threading.Thread(target=read) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert seen <= messages | {{b""}}, seen
""")


@CHARDEV2
def test_slow_reader_holds_nobody_up(loaded: ModuleUnderTest, guest: Guest) -> None:
    """A reader whose memory another program serves (userfaultfd) waits in the middle of its call; others must not."""
    answer = guest.python(f"""{MESSAGES}{SLOW_MEMORY}
import threading
assert set(b"first") == 0
slow = Slow()
reader = threading.Thread(target=lambda: ioctl(f, GET_MSG, slow.address + slow.size - 2))
reader.start()
slow.expect()
writer = threading.Thread(target=lambda: set(b"second"), daemon=True)
writer.start()
writer.join(10)
held_up = writer.is_alive()
slow.serve()
reader.join()
assert not held_up, "a reader that waits for its memory holds the lock"
assert ctypes.string_at(slow.address + slow.size - 2, 6) == b"first\\0", "the message that it asked for, as a whole"
""")
    if answer.stdout:
        pytest.skip(answer.stdout)
