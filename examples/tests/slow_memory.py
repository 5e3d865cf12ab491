"""For tests: memory whose second page is there only when the test says so. Python for the target."""

SLOW_MEMORY = """
import ctypes, fcntl, mmap, os, platform, select, struct, sys
class Slow:
    'Two pages, the second of which is served by hand (userfaultfd): who touches it waits until then.'
    NUMBERS = {"x86_64": 323, "aarch64": 282, "armv7l": 388}

    def __init__(self):
        number = self.NUMBERS.get(platform.machine())
        self.faults = ctypes.CDLL(None, use_errno=True).syscall(number, os.O_CLOEXEC) if number else -1
        if self.faults < 0:
            print("this kernel has no userfaultfd", end="")
            sys.exit()
        self.size = mmap.PAGESIZE
        self.memory = mmap.mmap(-1, 2 * self.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory[0] = 0
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        fcntl.ioctl(self.faults, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))  # UFFDIO_API
        area = struct.pack("QQQQ", self.address + self.size, self.size, 1, 0)
        fcntl.ioctl(self.faults, 0xC020AA00, area)  # UFFDIO_REGISTER, for pages that are missing

    def expect(self):
        'Wait until somebody waits for the second page.'
        assert select.select([self.faults], [], [], 20)[0], "nobody touched the page"

    def serve(self):
        fcntl.ioctl(self.faults, 0xC020AA04, struct.pack("QQQQ", self.address + self.size, self.size, 0, 0))  # UFFDIO_ZEROPAGE
"""
