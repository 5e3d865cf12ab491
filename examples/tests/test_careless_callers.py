"""Every file that an example makes, and every call that a careless program may make on it: an error at worst, never a crash."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

FILES = {
    "chardev": "/dev/chardev",
    "procfs1": "/proc/helloworld",
    "procfs2": "/proc/buffer1k",
    "procfs3": "/proc/buffer2k",
    "procfs4": "/proc/iter",
    "hello-sysfs": "/sys/kernel/mymodule/myvariable",
    "ioctl": "/dev/ioctltest",
    "chardev2": "/dev/char_dev",
    "sleep": "/proc/sleep",
    "vkbd": "/dev/vinput0",
    "vinput": "/sys/class/vinput/export",
}
BEFORE = {"vkbd": "echo vkbd > /sys/class/vinput/export"}
AFTER = {"vkbd": "echo 0 > /sys/class/vinput/unexport"}

CALLS = """
import ctypes, errno, mmap, os, select, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
path = sys.argv[1]
mode = os.stat(path).st_mode
readable, writable = mode & stat.S_IRUSR, mode & stat.S_IWUSR
f = os.open(path, os.O_RDWR if readable and writable else os.O_RDONLY if readable else os.O_WRONLY)

def raw(function, *arguments):
    'What a system call says: its result, or the name of its error.'
    ctypes.set_errno(0)
    function.restype = {"ioctl": ctypes.c_int, "lseek64": ctypes.c_int64}.get(function.__name__, ctypes.c_ssize_t)
    result = function(f, *arguments)
    return errno.errorcode[ctypes.get_errno()] if result == -1 else result

def expect(answer, *allowed):
    assert answer in allowed, (answer, allowed)

SIZE, OFFSET = ctypes.c_size_t, ctypes.c_int64
BAD = [ctypes.c_void_p(address) for address in (1, -4096, 1 << 47)]
piece = ctypes.create_string_buffer(1 << 20)

if readable:
    expect(raw(libc.read, piece, SIZE(0)), 0)
    for address in BAD:
        # 0 where there is nothing to read.
        expect(raw(libc.pread64, address, SIZE(10), OFFSET(0)), "EFAULT", 0)
    got = raw(libc.pread64, piece, SIZE(len(piece)), OFFSET(0))
    assert isinstance(got, int) and 0 <= got < 5000, got
    for offset in (1 << 20, 1 << 40, (1 << 63) - 1):
        expect(raw(libc.pread64, piece, SIZE(10), OFFSET(offset)), 0, "EINVAL", "EOVERFLOW")
expect(raw(libc.pread64, piece, SIZE(10), OFFSET(-1)), "EINVAL")
expect(raw(libc.pwrite64, piece, SIZE(10), OFFSET(-1)), "EINVAL")
if writable:
    # chardev has a write function, which refuses all.
    expect(raw(libc.write, piece, SIZE(0)), 0, "EINVAL")
    for address in BAD:
        for size in (1, 10, 1 << 20):
            expect(raw(libc.write, address, SIZE(size)), "EFAULT", "EINVAL", "EMSGSIZE", "E2BIG")
    text = ctypes.create_string_buffer(b"%n%s\\xff\\n" * 20000)
    assert raw(libc.pwrite64, text, SIZE(len(text)), OFFSET((1 << 63) - 1 - len(text))) != len(text)

for whence, offset in ((0, -1), (0, -(1 << 63)), (1, -(1 << 40)), (2, -(1 << 40)), (99, 0)):
    expect(raw(libc.lseek64, OFFSET(offset), whence), "EINVAL", "ESPIPE", "EOVERFLOW")
for whence in (0, 1, 2, 3, 4):  # 3 and 4: SEEK_DATA and SEEK_HOLE
    raw(libc.lseek64, OFFSET((1 << 63) - 1), whence)
    raw(libc.lseek64, OFFSET(0), 0)
for request in (0, 0xDEAD, 0x80086B01, 0xC0FF6B02, 0xFFFFFFFF):
    for argument in (ctypes.c_void_p(0), piece, *BAD):
        expect(raw(libc.ioctl, ctypes.c_ulong(request), argument), "ENOTTY")

try:
    mmap.mmap(f, 4096, prot=mmap.PROT_READ)
except OSError as problem:
    expect(errno.errorcode[problem.errno], "ENODEV", "EACCES", "EIO")
except ValueError:
    pass  # Python itself: longer than the file
else:
    raise AssertionError("mapped")
select.select([f], [f], [f], 0)
reader, writer = os.pipe()
for end, other in ((writer, f), (f, reader)):
    os.set_blocking(reader, False)
    try:
        os.sendfile(end, other, None, 100)
    except OSError:
        pass
try:
    os.ftruncate(f, 1 << 40)
except OSError:
    pass
os.close(f)
"""


@pytest.mark.parametrize(
    ("name", "path"), [pytest.param(name, path, marks=pytest.mark.module(name), id=name) for name, path in FILES.items()]
)
def test_calls_of_a_careless_program(loaded: ModuleUnderTest, guest: Guest, name: str, path: str) -> None:
    guest.sh(BEFORE.get(name, ":"))
    guest.python(f"import sys; sys.argv[1:] = [{path!r}]\n{CALLS}")
    guest.sh(AFTER.get(name, ":"))
