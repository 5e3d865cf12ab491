"""What is left behind: two looks at a target, and what is there at the second that was not at the first, or is there no more.

A look gives text by place: a file of the kernel's, or a folder (its name ends with a slash; its text is a list of names). Each
line is a thing; of some files only a part of it says which thing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

LINE = 4096
"""Characters of a line of the kernel's files that are read."""
USERLAND = ("processes", "files", "/proc/mounts")
"""The places of what a test leaves, or a program that it starts: none of a module's fault, and yet nobody else should find it."""
COMING_AND_GOING = re.compile(r"sshd|\(sd-pam\)|systemd|kworker/(?!R-)")
"""Processes that come and go by themselves: SSH's, and those of the kernel's that work for everybody. A `kworker/R-NAME` is the
rescuer of the workqueue NAME."""

SETTINGS = ("/proc/sys/kernel/", "/sys/devices/system/cpu/online")
"""What the name of a place begins with that is a setting: it is not left, but changed."""
SCREEN = re.compile(r"vcs[au]?\d+")
"""The kernel makes one for itself when it is suspended."""


@dataclass(frozen=True)
class Left:
    """The difference between two looks, as a person reads it, sorted."""

    new: tuple[str, ...] = ()
    """What a module has left: in the kernel's tables and folders."""
    gone: tuple[str, ...] = ()
    """What was there, and is no more."""
    userland: tuple[str, ...] = ()
    """Processes, files and mounts that came, or went."""

    @property
    def pointed(self) -> bool:
        """Whether the kernel still points to memory that the module had: it will go wrong when it follows."""
        return any(each.startswith(WORDS["pointers"]) for each in self.new)

    def __bool__(self) -> bool:
        return bool(self.new or self.gone)

    def __str__(self) -> str:
        parts = []
        changed = [each for each in self.new if each.startswith(SETTINGS)]
        if there := [each for each in self.new if each not in changed]:
            parts.append(f"still there after unloading: {', '.join(there[:5])}")
        if changed:
            parts.append(f"changed, and not changed back: {', '.join(changed[:5])}")
        if self.gone:
            parts.append(f"no longer there: {', '.join(self.gone[:5])}")
        return "; ".join(parts)


def raised_by_a_report(text: str) -> bool:
    """Whether all that is left is the console's level, as the kernel raises it itself to report a fault of locks, say, or an oops
    (console_verbose() of include/linux/printk.h: CONSOLE_LOGLEVEL_MOTORMOUTH, 15), and leaves it.
    """
    return re.fullmatch(r"changed, and not changed back: /proc/sys/kernel/printk: 15(?: \d+){3}", text) is not None


def lost_memory(left: Left) -> bool:
    """Whether memory is all that a module has left."""
    return bool(left.new) and not left.gone and all(each.startswith(WORDS["memory"]) for each in left.new)


def only_memory(text: str) -> bool:
    """Whether all that is left is memory."""
    return (
        re.fullmatch(rf"still there after unloading: ({WORDS['memory']} \d+ of [^,]+, allocated by [^,;]+(, |$))+", text)
        is not None
    )


def between(before: Mapping[str, str], after: Mapping[str, str], own: Iterable[str] = ()) -> Left:
    """What is other at the second look; `own` are the modules that are looked at, as the kernel calls them."""
    new: list[str] = []
    gone: list[str] = []
    userland: list[str] = []
    ours = frozenset(own)
    for place in before.keys() | after.keys():
        old, now = before.get(place, ""), after.get(place, "")
        if old == now or place in UNSTEADY:
            continue
        then, since = Counter(things(place, old)), Counter(things(place, now))
        came, went = since - then, then - since
        if place in USERLAND:
            userland += [*came, *(f"gone: {each}" for each in went)]
            continue
        if place == "/proc/modules":
            came, went = (Counter(each for each in some if each.split(" ")[0] not in ours) for some in (came, went))
            # A module that came with this one, and rightly stays, was not used before.
            known = {each.split(" ")[0] for each in then}
            came = Counter(each for each in came if each.split(" ")[0] in known)
            went = Counter[str]()
        elif place == "memory":
            went = Counter[str]()
        elif place.startswith(SETTINGS) and not place.endswith("/"):
            went = Counter[str]()  # it has another value
        new += [named(place, each) for each in came]
        gone += [named(place, each) for each in went]
    return Left(tuple(sorted(new)), tuple(sorted(gone)), tuple(sorted(userland)))


def modules(places: Mapping[str, str]) -> frozenset[str]:
    """The modules that the kernel has."""
    return frozenset(line[:LINE].split(" ")[0] for line in places.get("/proc/modules", "").splitlines())


def things(place: str, text: str) -> list[str]:
    """What a place holds: of each line, what tells one thing from another."""
    if place in BLOCKS:
        return [found for block in text.split("\n\n") if (found := BLOCKS[place](block))]
    part = PARTS.get(place, _words)
    return [found for line in text.splitlines() if (found := part(line[:LINE]))]


def named(place: str, thing: str) -> str:
    """A thing as a person knows it."""
    if place in WORDS:
        return f"{WORDS[place]} {thing}"
    return f"{place}{thing}" if place.endswith("/") else f"{place}: {thing}"


def _words(line: str) -> str:
    return " ".join(line.split())


def _found(pattern: str) -> Callable[[str], str]:
    """The groups of a pattern, where a line has it; else nothing."""
    compiled = re.compile(pattern)

    def part(line: str) -> str:
        found = compiled.search(line)
        return " ".join(each for each in found.groups() if each) if found else ""

    return part


def _process(line: str) -> str:
    return "" if COMING_AND_GOING.match(line) else line


def _allocated(line: str) -> str:
    cache, function, count = (*line.split(), "", "", "")[:3]
    return f"{count} of {cache}, allocated by {function}" if count else ""


def _pointer(line: str) -> str:
    variable, address = (*line.split(), "", "")[:2]
    what = next((name for pattern, name in REGISTERED if re.match(pattern, variable)), "something")
    return f"{what} in {variable}, to {address}" if address else ""


def _device(line: str) -> str:
    return "" if SCREEN.fullmatch(line) else line


def _algorithm(block: str) -> str:
    fields = dict(re.findall(r"^(name|driver|module) *: (.{1,200})$", block, re.MULTILINE))
    if fields.get("module") == "kernel" and "(" in fields.get("driver", ""):
        return ""  # of a template that is built in: made for who asked first, and kept
    return f"{fields['name']} ({fields.get('driver', '')})" if "name" in fields else ""


REGISTERED = (
    ("timer_bases$", "an armed timer or delayed work"),
    ("cdev_map$", "a character device"),
    ("init_net$", "a hook of netfilter or of its network namespace"),
    ("genl_fam_idr$", "a family of generic netlink"),
    ("ptype_", "a packet type"),
    ("__SCK__tp_func_|__tracepoint_", "a probe of a tracepoint"),
    (r"\w+(_chain|_notif|_nb$)", "a notifier"),
)
"""What is registered in a variable of the kernel's, by its name."""
BLOCKS: Mapping[str, Callable[[str], str]] = {"/proc/crypto": _algorithm}
PARTS: Mapping[str, Callable[[str], str]] = {
    "/proc/interrupts": _found(r"^ *\d+:.*\s(\S.*)$"),  # without the number: a suspend gives devices others
    "/proc/modules": _found(r"^(\S+) \d+ (\d+) "),
    "/proc/net/protocols": _found(r"^(\S+) "),
    "/proc/net/netlink": _found(r"^\S+ +(\d+) +0 "),  # the kernel's own sockets; a process has its number
    "/sys/kernel/debug/kprobes/list": _found(r"^\S+ +(.*)$"),  # without the address
    "/sys/kernel/tracing/enabled_functions": _found(r"^(\S+)"),
    "memory": _allocated,
    "pointers": _pointer,
    "/dev/": _device,
    "/sys/class/vc/": _device,
    "processes": _process,
    "threads": _process,
}
"""Of these files, what of a line tells one thing from another; where nothing is found, the line is none."""
WORDS = {
    "/proc/interrupts": "interrupt",
    "/proc/net/netlink": "a netlink socket of protocol",
    "/sys/kernel/tracing/enabled_functions": "a hook of ftrace at",
    "/sys/kernel/debug/kprobes/list": "a kprobe at",
    "memory": "memory that nobody frees:",
    "pointers": "the kernel's pointer for",
    "threads": "the kernel's thread",
    "timers": "a timer or delayed work, armed, that calls",
}
UNSTEADY = frozenset({"/proc/sys/kernel/tainted"})
"""What others judge."""
