"""Runs on the target (Python 3.9 and later), where it works through the controller's jobs one after the other.

A job is a line of JSON, {"id": NUMBER, "shell": SCRIPT or "python": CODE, "stdin": TEXT, "limit": SECONDS}; its answer is the
line [NUMBER, STATUS, STDOUT, STDERR], where of each output no more than MOST bytes are. Status 124 says that the limit was over,
as timeout(1) does. Every job is a process group of its own; Python code runs in a fork of this process, which saves the quarter
of a second that an emulated machine needs to start another.

A job that also has "look" is followed by a look at the kernel: its answer has a fifth part, {PLACE: TEXT}, with every file, and
every folder as a list of names, whose text is another than at the last look; null where it is gone. A job may be nothing but a
look; then its status is 0. {"look": "kernel"} reads the three files that tell of modules, {"look": "all"} every place where a
module could leave something behind, {"look": "checks"} has the kernel check its slab caches, too. With "gone", a text of JSON,
[MODULE, [[BEGIN, END], ...], ANYWHERE], what still points to the memory of a module that has gone is looked for first. Nothing
else is understood here, only read and compared: each program that is not started saves an emulated machine 5 to 10 ms, each line
that Python does not take apart some microseconds.
"""

import fcntl
import json
import os
import re
import select
import signal
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

NAMES_ONLY = ("/proc/devices",)
"""Files that follow no pointer into a module: the kernel keeps these names itself."""
KERNEL = ("/proc/sys/kernel/tainted", "/proc/modules", "/proc/interrupts")
TABLES = (
    *(
        "/proc/devices",
        "/proc/filesystems",
        "/proc/ioports",
        "/proc/iomem",
        "/proc/tty/drivers",
        "/proc/crypto",
        "/proc/consoles",
    ),
    *("/proc/net/ptype", "/proc/net/protocols", "/proc/net/netlink", "/proc/mounts"),
    *("/sys/kernel/debug/kprobes/list", "/sys/kernel/tracing/kprobe_events", "/sys/kernel/tracing/set_event"),
    "/sys/kernel/tracing/enabled_functions",
)
"""What is registered without a file of its own: a character device's number, say."""
SETTINGS = (
    "printk",
    "panic",
    "panic_on_oops",
    "panic_on_warn",
    "hung_task_timeout_secs",
    "softlockup_panic",
    "sysrq",
    "modprobe",
    "modules_disabled",
    "kptr_restrict",
    "core_pattern",
    "ftrace_enabled",
    "hostname",
)
"""Of /proc/sys/kernel, those that decide what the lab sees of every module after."""
PROCESSORS = "/sys/devices/system/cpu/online"
"""Without the others a race is not seen."""
SLAB = "/sys/kernel/slab"
"""A link there is another name for a cache that several share. It stays for ever, whoever has gone."""
OF_SLABS = ("kmem_cache", "kmem_cache_node")
"""Caches of which no module takes anything. 7.3 calls free pointers corrupt in the second when it is asked to look."""
TREES = {
    "/proc": 2,
    "/proc/net": 1,
    "/proc/sys": 2,
    "/proc/sys/dev": 2,
    "/proc/sys/net": 2,
    "/proc/bus/input": 1,
    "/sys/bus": 1,
    "/sys/class": 2,
    "/sys/devices": 1,
    "/sys/devices/platform": 1,
    "/sys/devices/system": 2,
    "/sys/devices/virtual": 1,
    "/sys/fs": 2,
    "/sys/kernel": 1,
    "/sys/kernel/config": 1,
    "/sys/kernel/debug": 2,
    SLAB: 1,
    "/sys/kernel/tracing/events": 1,
    "/sys/module": 1,
    "/dev": 2,
}
"""Folders, and how deep what is in them is listed."""
NOT_INTO = {
    *("/proc/sys", "/proc/self", "/proc/thread-self", "/proc/irq", "/sys/kernel/debug/slab", "/sys/kernel/debug/tracing"),
    "/sys/kernel/debug/gcov",  # keeps the counts of modules that have gone
    *("/dev/pts", "/dev/shm"),  # noqa: S108 - terminals come and go with SSH's sessions
}
"""Folders that are not listed, or elsewhere in this table, or too large, or never still."""
MEMORY = re.compile("text|data(?!.*percpu)|bss|this_module")
"""In the name of a section: it holds code or variables."""
WRITABLE = ("/", "/tmp", "/run", "/dev/shm")  # noqa: S108 - nothing is put there
"""Where files are made. Each file system knows how many it has."""
LANDMARKS = "/run/kmodlab-symbols"
"""Where what lies of the kernel's memory: lines NAME ADDRESS SIZE, which a first boot has left there (landmarks.py)."""
TIMER_BASES = 32 << 10
"""Bytes that a processor's timer_bases have at most: three of 4.7 KiB."""
F_SETPIPE_SZ = 1031
"""Of fcntl(2); Python has it since 3.10."""
PAGES = bytes(1 << 20)
"""As many as the lists of freed pages of a processor hold, in pages of 4 KiB: the largest pipe that anybody may have."""
LARGEST = (1 << 64) - 1
KERNELS_HALF = 1 << 63
"""The lowest address of the kernel's half of the memory."""
NEAR = 2 << 30
"""Bytes from the kernel's own code within which that of modules lies: calls reach no farther."""
OVER = 124
MOST = 4 << 20
LAST_WORDS = 2.0
"""Seconds between asking a job to end and killing it, and for the kernel to bury it."""


def ends(pidfd: int, seconds: float) -> bool:
    """Wait for a child's end; False when it does not come."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def status_of(child: int, limit: float) -> int:
    """A child's exit status. What its kernel does not let go stays behind, a zombie to be."""
    pidfd = os.pidfd_open(child)
    try:
        if ends(pidfd, limit):
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(child, number)
            if ends(pidfd, LAST_WORDS):
                os.waitpid(child, 0)
                break
        return OVER
    finally:
        os.close(pidfd)


def contents(path: str) -> str:
    """What a file of the kernel's says."""
    file = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(file, 1 << 16):
            parts.append(part)
        return b"".join(parts).decode(errors="replace")
    finally:
        os.close(file)


def texts(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What those of the files say that this kernel has."""
    for path in paths:
        with suppress(OSError):
            yield path, contents(path)


def listed(folder: str) -> list[str]:
    """A folder's entries; none where there is no such folder (any more), or none that can be listed."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


inside: dict[str, tuple[list[str], list[str]]] = {}
"""By folder: its entries when it was last listed, and those that are folders themselves."""


def tree(folder: str, depth: int) -> Iterator[tuple[str, str]]:
    """A folder's entries, and those of the folders in it. Which entries are folders is asked only where others are there now."""
    names = listed(folder)
    if folder == "/proc":
        names = [name for name in names if not name.isdigit()]
    if (depth > 1 or folder == SLAB) and (folder not in inside or inside[folder][0] != names):
        inside[folder] = names, folders_in(folder)
    if folder == SLAB:
        names = inside[folder][1]
    if names:
        yield f"{folder}/", "\n".join(names)
    if depth > 1:
        for name in inside[folder][1]:
            yield from tree(f"{folder}/{name}", depth - 1)


def folders_in(folder: str) -> list[str]:
    """Those of its entries that are folders; in /proc, no processes."""
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.isdigit() and entry.path not in NOT_INTO and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


names: dict[str, tuple[bool, str]] = {}
"""Who is a process: by its number, whether it is a thread of the kernel's, and its name."""


def processes() -> Iterator[tuple[str, str]]:
    """The name of each."""
    numbers = [number for number in os.listdir("/proc") if number.isdigit()]
    for gone in names.keys() - set(numbers):
        del names[gone]
    for number in numbers:
        if number not in names:
            try:
                told = contents(f"/proc/{number}/stat")
            except OSError:  # it has ended meanwhile
                continue
            begin, end = told.index("(") + 1, told.rindex(")")
            names[number] = told[end:].split()[2] == "2", told[begin:end]
    for place, kernels in (("threads", True), ("processes", False)):
        yield place, "\n".join(name for thread, name in names.values() if thread is kernels)


def files() -> str:
    """How many files each file system in memory has."""
    counts = ((place, os.statvfs(place)) for place in WRITABLE if os.path.isdir(place))
    return "\n".join(f"{place} {count.f_files - count.f_ffree}" for place, count in counts)


def places() -> Iterator[tuple[str, str]]:
    """Whatever a module could leave behind."""
    if os.path.isdir("/sys/kernel/config") and "/sys/kernel/config " not in contents("/proc/mounts"):
        status_of(start_shell("exec mount -t configfs none /sys/kernel/config", [0, 2, 2]), LAST_WORDS)
    for folder, depth in TREES.items():
        yield from tree(folder, depth)
    for bus in listed("/sys/bus"):
        yield f"/sys/bus/{bus}/drivers/", "\n".join(listed(f"/sys/bus/{bus}/drivers"))
        yield f"/sys/bus/{bus}/devices/", "\n".join(listed(f"/sys/bus/{bus}/devices"))
    yield from texts(TABLES)
    yield from texts((*(f"/proc/sys/kernel/{name}" for name in SETTINGS), PROCESSORS))
    yield from processes()
    yield "files", files()


class Core:
    """The kernel's memory, as /proc/kcore shows it to root."""

    def __init__(self) -> None:
        """OSError where the kernel shows it to nobody; ValueError where its symbols are not known."""
        lines = [line.split() for line in contents(LANDMARKS).splitlines()]
        marks = [(words[0], int(words[1], 16), int(words[2], 16)) for words in lines if len(words) == 3]
        self.symbols = {name: address for name, address, _ in marks}
        self.sizes = {name: size for name, _, size in marks}
        self.chains = [each for each in marks if re.search("_(chain|notif)", each[0])]
        self.data = [(address, size) for name, address, size in marks if name == "data"]
        if not {"_stext", "_etext", "timer_bases", "__per_cpu_offset", "delayed_work_timer_fn"} <= self.symbols.keys():
            raise ValueError("symbols are missing")
        self.size = self.sizes["timer_bases"]
        if not 0 < self.size <= TIMER_BASES:
            raise ValueError("where the timers end is not known")
        self.file = os.open("/proc/kcore", os.O_RDONLY)
        header = os.pread(self.file, 64, 0)
        if header[4] != 2:
            raise ValueError("not of 64 bits")
        start, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
        parts = (struct.unpack("<IIQQQQQQ", os.pread(self.file, 56, start + 56 * number)) for number in range(count))
        self.parts = [(address, size, offset) for kind, _, offset, address, _, _, size, _ in parts if kind == 1]

    def read(self, address: int, size: int) -> bytes:
        """So many bytes; fewer where there are no more."""
        for begin, length, offset in self.parts:
            if begin <= address < begin + length:
                return os.pread(self.file, size, offset + address - begin)
        return b""

    def word(self, address: int) -> int:
        """A number; 0 where there is none."""
        return int.from_bytes(self.read(address, 8), "little")

    def words(self, address: int, count: int) -> "tuple[int, ...]":
        """So many numbers one after the other; none where there are not so many, or nothing is."""
        block = b""
        if address >= KERNELS_HALF:
            with suppress(OSError):
                block = self.read(address, 8 * count)
        return struct.unpack(f"<{count}Q", block) if len(block) == 8 * count else ()

    def variable(self, name: str) -> "tuple[int, ...]":
        """One of the kernel's variables, as numbers."""
        return self.words(self.symbols[name], self.sizes[name] // 8) if name in self.symbols else ()

    def armed(self) -> "Iterator[tuple[int, int]]":
        """Where armed timers are, and the functions that they call, those of delayed work too.

        A timer is a struct timer_list in a list of one of a processor's timer_bases, whose head it points back to: by that it is
        known, whatever else these hold. What does not point back has no function: it is no timer, or the memory of one that has
        gone. The list may change while it is read. A delayed work's function lies before its timer.
        """
        for processor in range(os.cpu_count() or 1):
            begin = self.symbols["timer_bases"] + self.word(self.symbols["__per_cpu_offset"] + 8 * processor) & LARGEST
            block = self.read(begin, self.size)
            for found in re.finditer(rb"\xff\xff", block):
                head, odd = divmod(found.end(), 8)
                slot, left = begin + 8 * (head - 1), 1000
                timer = 0 if odd else int.from_bytes(block[8 * (head - 1) : 8 * head], "little")
                while timer and left:
                    after, back, _, function = self.words(timer, 4) or (0, 0, 0, 0)
                    if back != slot:
                        yield timer, 0
                        break
                    yield timer, self.word(timer - 8) if function == self.symbols["delayed_work_timer_fn"] else function
                    timer, slot, left = after, timer, left - 1


core: "Core | None" = None
with suppress(OSError, ValueError):
    core = Core()


led_nowhere: "set[int]" = set()
"""Pointers to objects that were followed at the last look for them."""


class Pointers:
    """What in the kernel still points to memory that a module had which has gone: to its code, or to a variable of its own.

    Each list is read as the sources of 5.10 to 7.3 have it (a struct kobj_map, xa_node, nf_hook_entries, notifier_block). It may
    change meanwhile: nothing is believed to be a pointer, and every way has an end. To read of the kernel's memory takes an
    emulated one 0.2 ms, however little it is: what led nowhere at the last look is not followed again.
    """

    def __init__(self, core: Core, gone: "list[list[int]]", armed: "Iterable[tuple[int, int]]" = ()) -> None:
        """The memory: from where to where; and what timers there are."""
        self.core, self.gone, self.armed = core, gone, armed
        image = core.symbols
        self.text, self.image = (
            range(image["_stext"], image["_etext"]),
            range(image["_stext"], image.get("_end", image["_etext"])),
        )
        self.blocks: list[tuple[int, bytes]] = []
        """What has been read of the kernel's variables."""
        self.followed: set[int] = set()

    def inside(self, word: int) -> bool:
        return any(begin <= word < end for begin, end in self.gone)

    def code(self, word: int) -> bool:
        """Whether a function may begin there: in the kernel's code, or where modules are."""
        return word in self.text or (abs(word - self.text.start) < NEAR and word not in self.image)

    def new(self, words: "Iterable[int]") -> "list[int]":
        """Those of these pointers to objects that were not followed at the last look."""
        objects = {word for word in words if word >= KERNELS_HALF and word not in self.image}
        self.followed |= objects
        return [*objects - led_nowhere]

    def found(self, *, anywhere: bool) -> "list[str]":
        """In which variable, and where to: in those lists that are always read, or in any of the kernel's own variables."""
        pointers = {address: where for way in (self.timers, self.devices, self.families, self.hooks) for where, address in way()}
        if anywhere and not pointers:
            self.blocks = [(begin, self.core.read(begin, size)) for begin, size in self.core.data]
            pointers = {address: where for where, address in self.notifiers()} or self.anywhere()
        if not pointers:
            led_nowhere.clear()
            led_nowhere.update(self.followed)
        return [f"{where} {address:#x}" for address, where in pointers.items()]

    def timers(self) -> "Iterator[tuple[str, int]]":
        """Timers and delayed work among the module's variables: these have gone, so that nothing tells what would be called."""
        yield from (("timer_bases", timer) for timer, _ in self.armed if self.inside(timer))

    def devices(self) -> "Iterator[tuple[str, int]]":
        """Character devices: a probe has the next one, dev, range, owner, get, lock and data, as a rule a struct cdev. The new
        one of a number is the first.
        """
        for first in self.new(self.core.words(self.core.word(self.core.symbols.get("cdev_map", 0)), 255)):
            probe, left = self.core.words(first, 7), 1000
            while probe and left:
                found = [word for word in (probe[3], probe[6], *self.core.words(probe[6], 14)) if self.inside(word)]
                yield from (("cdev_map", word) for word in found[:1])
                probe, left = self.core.words(probe[0], 7), left - 1

    def families(self) -> "Iterator[tuple[str, int]]":
        """Families of generic netlink. Of a node's address the lowest bits are 10; its 64 slots lie behind 40 bytes."""
        nodes, left = [word for word in self.core.variable("genl_fam_idr") if word & 3 == 2], 1000
        while nodes and left:
            slots = self.core.words(nodes.pop() - 2 + 40, 64)
            nodes += [slot for slot in slots if slot & 3 == 2 and slot >= KERNELS_HALF]
            yield from (("genl_fam_idr", slot) for slot in slots if self.inside(slot))
            left -= 1

    def hooks(self) -> "Iterator[tuple[str, int]]":
        """Netfilter's: an array of functions, each with a pointer of its owner's, behind their number. It is never changed, but
        replaced.
        """
        for word in self.new(self.core.variable("init_net")):
            count, function = self.core.words(word, 2) or (0, 0)
            if 0 < count <= 64 and self.code(function):
                entries = self.core.words(word + 8, 2 * count)
                yield from (("init_net", each) for each in entries[::2] if self.inside(each))

    def notifiers(self) -> "Iterator[tuple[str, int]]":
        """A chain's head is the last of its words; a block has its function, and the next block. A new one may be the last."""
        for name, address, size in self.core.chains:
            words = min(size // 8, 16)
            for first in self.words(address + size // 8 * 8 - 8 * words, words):
                block, left = first, 100
                while block and left:
                    call, after = self.words(block, 2) or (0, 0)
                    if found := next(filter(self.inside, (block, call)), 0):
                        yield name, found
                    if found or not self.code(call):
                        break
                    block, left = after, left - 1

    def words(self, address: int, count: int) -> "tuple[int, ...]":
        """The same as the core's, of what has been read already, as far as it has."""
        for begin, block in self.blocks:
            if begin <= address <= begin + len(block) - 8 * count:
                return struct.unpack_from(f"<{count}Q", block, address - begin)
        return self.core.words(address, count)

    def anywhere(self) -> "dict[int, str]":
        """Those in heads of lists, in tables of functions, and in what is in a list of the kernel's with a module's."""
        found: dict[int, int] = {}
        for begin, block in self.blocks:
            for upper in {upper for low, high in self.gone for upper in range(low >> 16, (high - 1 >> 16) + 1)}:
                needle = struct.pack("<Q", upper << 16)[2:]
                place = block.find(needle)
                while place >= 0:
                    if place % 8 == 2:
                        word = struct.unpack_from("<Q", block, place - 2)[0]
                        found.update({word: begin + place - 2} if self.inside(word) else {})
                    place = block.find(needle, place + 1)
        names = owners([*found.values()])
        return {word: names[place] for word, place in found.items()}


def owners(addresses: "list[int]") -> "dict[int, str]":
    """In which of the kernel's variables each of these lies."""
    nearest = dict.fromkeys(addresses, (0, "?"))
    if addresses:
        with open("/proc/kallsyms") as lines:
            for words in (line.split() for line in lines):
                begin = int(words[0], 16)
                for address in addresses:
                    if nearest[address][0] < begin <= address:
                        nearest[address] = begin, words[2]
    return {address: name for address, (_, name) in nearest.items()}


def pointers(gone: str, modules: str, armed: "Iterable[tuple[int, int]]" = ()) -> "list[str]":
    """What still points to the memory of a module, if it has gone: in lists known for it, else, if asked, anywhere."""
    name, memory, anywhere = json.loads(gone)
    if core is None or name in {line.split(" ", 1)[0] for line in modules.splitlines()}:
        return []
    return Pointers(core, memory, armed).found(anywhere=anywhere)


class Timers:
    """What armed timers call that belongs neither to the kernel nor to a module that it has."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        """Those of the last look, each with its address."""
        self.known: set[int] = set()
        """Functions of theirs."""

    def strays(self, core: Core, armed: "Iterable[tuple[int, int]]", modules: str) -> list[str]:
        """Of these timers, where there are these modules (/proc/modules). Where their code lies side by side, as since 6.4, and
        what they say of their size counts what lies elsewhere, a function may seem to be a neighbour's: then the kernel's own
        table of symbols tells. Reading it takes seconds, so what is armed at the first look is believed: no module under test has
        been there yet.
        """
        lines = [line.split() for line in modules.splitlines()]
        here = {f"{words[0]} {words[5]}" for words in lines}
        if not self.modules <= here:
            self.known.clear()
        first, self.modules = not self.modules and not self.known, here
        text = range(core.symbols["_stext"], core.symbols["_etext"])
        others = {function for _, function in armed if function and function not in text}
        parts = [range(int(words[5], 16), int(words[5], 16) + int(words[1])) for words in lines]
        inside = {function for function in others if any(function in each for each in parts)}
        self.known |= inside if first else named(inside - self.known)
        return [f"{function:#x}" for function in sorted(others - (inside & self.known))]


def named(functions: set[int]) -> set[int]:
    """Those of these addresses at which the kernel knows a symbol to begin."""
    wanted = {f"{function:016x}" for function in functions}
    found: set[int] = set()
    if wanted:
        with open("/proc/kallsyms") as lines:
            found.update(int(line[:16], 16) for line in lines if line[:16] in wanted)
    return found


timers = Timers()


def stray_hrtimers() -> list[str]:
    """The same of high-resolution timers: the kernel lists them, with an address where it knows no name (any more)."""
    try:
        return re.findall(r">, (0x[0-9a-f]+), S:", contents("/proc/timer_list"))
    except OSError:
        return []


def check_slabs() -> None:
    """Have the kernel look at every object of every slab cache that it keeps marks in; what it finds is in its log."""
    for cache in (each for each in listed(SLAB) if each not in OF_SLABS):
        with suppress(OSError):  # it keeps none in this one
            file = os.open(f"{SLAB}/{cache}/validate", os.O_WRONLY)
            try:
                os.write(file, b"1")
            finally:
                os.close(file)


def check_free_pages() -> None:
    """Have the kernel look at the pages that were freed last: it does when it gives them to somebody, and lists those of each
    processor apart. A pipe takes pages of the kind that kernel code takes.
    """
    at_home = os.sched_getaffinity(0)
    for processor in at_home:
        os.sched_setaffinity(0, {processor})
        ends = os.pipe2(os.O_NONBLOCK)
        with suppress(OSError):  # as many as this user may have
            fcntl.fcntl(ends[1], F_SETPIPE_SZ, len(PAGES))
            os.write(ends[1], PAGES)
        for end in ends:
            os.close(end)
    os.sched_setaffinity(0, at_home)


def strangers_memory() -> str:
    """What is allocated in slab caches, and of vmalloc, by functions whose names the kernel does not know (any more): how much,
    where, by whom.
    """
    found: dict[tuple[str, str], int] = {}
    with suppress(OSError):
        for size, function in re.findall(r"^0x\S+ +(\d+) (0x[0-9a-f]{8,16}) ", contents("/proc/vmallocinfo"), re.MULTILINE):
            found[f"vmalloc({size})", function] = found.get((f"vmalloc({size})", function), 0) + 1
    for cache in listed(SLAB):
        for path in (f"/sys/kernel/debug/slab/{cache}/alloc_traces", f"{SLAB}/{cache}/alloc_calls"):
            with suppress(OSError):  # kernels before 5.15 have the second
                # Of a stack only the first counts: what the kernel allocates deeper in it, it may rightly keep for itself.
                for count, function in re.findall(r"^ *(\d+) (0x[0-9a-f]{8,16})\b", contents(path), re.MULTILINE):
                    found[cache, function] = found.get((cache, function), 0) + int(count)
                break
    return "\n".join(f"{cache} {function} {count}" for (cache, function), count in found.items())


told: dict[str, str] = {}
"""What was where at the last look."""


def sections_of_new(modules: str) -> Iterator[tuple[str, str]]:
    """Where code and variables lie of each module that was not there at the last look."""
    known = {line.split(" ", 1)[0] for line in told.get("/proc/modules", "").splitlines()}
    for name in (line.split(" ", 1)[0] for line in modules.splitlines()):
        if name not in known:
            folder = f"/sys/module/{name}/sections"
            parts = texts(f"{folder}/{each}" for each in listed(folder) if MEMORY.search(each))
            yield folder, "".join(f"{os.path.basename(path)} {address}" for path, address in parts)


def look(how: str, gone: str = "") -> dict[str, "str | None"]:
    """What is other than at the last look. What the kernel still has of a module that has gone is told alone, or with what is
    only named: asked for more, it would follow its pointers there.
    """
    everywhere = how != "kernel"
    if how == "checks":
        check_slabs()
        check_free_pages()
    now = dict(texts(KERNEL))
    modules = now.get("/proc/modules", "")
    armed = list(core.armed()) if core and (gone or everywhere) else []
    if gone and (left := pointers(gone, modules, armed)):
        now["pointers"] = "\n".join(left)
        now.update(texts(NAMES_ONLY))
        everywhere = False
    elif everywhere:
        now.update(places())
        now["timers"] = "\n".join((*stray_hrtimers(), *(timers.strays(core, armed, modules) if core else ())))
    else:
        now.update(sections_of_new(modules))
    if everywhere and how == "checks":
        now["memory"] = strangers_memory()
    news: dict[str, str | None] = {place: text for place, text in now.items() if told.get(place) != text}
    if how != "kernel":
        news.update(dict.fromkeys(place for place in told.keys() - now.keys() if everywhere or place.endswith("/sections")))
    told.update(now)
    for place, text in news.items():
        if text is None:
            del told[place]
    return news


def start_shell(script: str, streams: list[int]) -> int:
    """Start a job's shell. Spawning copies none of this process's page tables, as forking does."""
    actions = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
    # Python ignores SIGPIPE; what it starts must not.
    return os.posix_spawn(
        "/bin/sh", ["sh", "-c", script], os.environ, file_actions=actions, setpgroup=0, setsigdef=[signal.SIGPIPE]
    )


requests = os.fdopen(os.dup(0), encoding="utf-8")
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
job: dict[str, str] = {}
for request in requests:
    job = json.loads(request)
    answer: list[object] = [job["id"], 0, "", ""]
    if "stdin" in job:
        # Files, not pipes: what a job leaves running in the background holds up nobody.
        streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        os.pwrite(streams[0], job["stdin"].encode(), 0)
        child = start_shell(job["shell"], streams) if "shell" in job else os.fork()
        if not child:
            os.setpgrp()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            break
        answer[1] = status_of(child, float(job["limit"]))
        answer[2:] = [os.pread(stream, min(os.fstat(stream).st_size, MOST), 0).decode(errors="replace") for stream in streams[1:]]
        for stream in streams:
            os.close(stream)
    answer.append(look(job["look"], job.get("gone", "")) if "look" in job else None)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
else:
    sys.exit()

# Only a fork comes here.
sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
exec(compile(job["python"], "<test>", "exec"), {"__name__": "__main__"})  # noqa: S102 - what a test asks for
# An emulated machine needs 40 ms to take an interpreter down in order.
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
