"""A first look at a module that nobody has described yet: what it makes and says when it is loaded, twice, and unloaded."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kmodlab.guest.shell import Guest, Look
from kmodlab.judge.classifier import Severity, classify
from kmodlab.judge.kernel_log import KERNEL, Record
from kmodlab.verify.life_cycle import USUAL
from kmodlab.verify.module import SETTLE_SECONDS, ModuleUnderTest

PLACES = re.compile(r"/dev/|/proc/(?!sys/)|/sys/(class|kernel|fs|firmware)/|/sys/bus/[^/]+/drivers/|/sys/devices/platform/")
"""Where a module makes files for somebody to use. Elsewhere they come with these, or are the kernel's own business."""
NOT_OURS = re.compile(r"/sys/kernel/(debug|tracing|slab|config)/")
"""Of these, what other kernels need not show."""
MOST_FILES = 12
MOST_LINES = 12
SHORT = 2
"""Digits of a number that is taken as it stands: a longer one is an address, a time or a device's number, another elsewhere."""
WAIT = 1.0
"""Seconds in which a module that was loaded, or unloaded, may say more."""
WORDS = re.compile(r"0x[0-9a-fA-F]+|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|\d+")


@dataclass(frozen=True)
class Seen:
    """What was seen of one module."""

    name: str
    files: Mapping[str, str] = field(default_factory=dict)
    """What was there while it was loaded, both times, and gone after: the path, and its kind as stat says it."""
    at_load: tuple[str, ...] = ()
    """What it said, as regular expressions, both times and in this order."""
    at_unload: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Their values where it is told none, as /sys/module shows them."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What modinfo says of each parameter."""
    complaint: str = ""
    """What the kernel said against it meanwhile, the first of it."""


def look_at(module: ModuleUnderTest) -> Seen:
    """Load and unload it twice. AssertionError, with all that was said, where that fails; GuestLostError where all is lost."""
    (files, loads, unloads), (again, loads_again, unloads_again) = _pass(module), _pass(module)
    complaints = classify([*loads, *unloads], release=module.guest.release)
    parameters, meanings = _parameters(module)
    return Seen(
        module.name,
        {path: kind for path, kind in files.items() if path in again},
        same(loads, loads_again),
        same(unloads, unloads_again),
        parameters,
        meanings,
        next((f"{each.kind}: {each.headline}" for each in complaints if each.severity >= Severity.FAULT), ""),
    )


def _pass(module: ModuleUnderTest) -> tuple[dict[str, str], list[Record], list[Record]]:
    """The files that came and went, and what was said at load and at unload."""
    guest = module.guest
    guest.sh(module.prepare())
    _, before = guest.look()
    begin = guest.log.mark()
    module.load(module.entry.parameters)
    _, there = guest.look(f"sleep {WAIT}", timeout=SETTLE_SECONDS)
    kinds = _kinds(guest, _came(before, there))
    middle = guest.log.mark()
    module.unload()
    _, after = guest.look(f"sleep {WAIT}", timeout=SETTLE_SECONDS)
    records = guest.log.since(begin)
    module.clean_up()
    left = set(_came(before, after))
    return (
        {path: kind for path, kind in kinds.items() if not any(path == each or path.startswith(f"{each}/") for each in left)},
        [record for record in records if record.seq < middle],
        [record for record in records if record.seq > middle],
    )


def _came(before: Look, after: Look) -> list[str]:
    """What is there that was not, without what is in a folder that came, too."""
    found = []
    for place, text in after.places.items():
        if place.endswith("/") and PLACES.match(place) and not NOT_OURS.match(place):
            known = before.places.get(place, "").splitlines()
            found += [f"{place}{name}" for name in text.splitlines() if name not in known]
    return sorted(path for path in found if not any(path.startswith(f"{other}/") for other in found))


def _kinds(guest: Guest, paths: Iterable[str]) -> dict[str, str]:
    """Of each path what it is; of a folder in /proc or /sys/kernel, the files in it."""
    script = "\n".join(
        f"""if [ -d {path} ] && [ ! -L {path} ]; then find {path} -maxdepth 2 -type f; else echo {path}; fi"""
        if re.match("/proc/|/sys/kernel/", path)
        else f"echo {path}"
        for path in map(shlex.quote, paths)
    )
    kinds = 'while read -r path; do stat -c "%n|%F" "$path"; done'
    found = guest.sh(f"{{ {script or ':'}\n}} | head -n {MOST_FILES} | {kinds}").stdout
    return dict(line.rsplit("|", 1) for line in found.splitlines() if "|" in line)


def _parameters(module: ModuleUnderTest) -> tuple[dict[str, str], dict[str, str]]:
    """The values of its parameters, and what modinfo says of them."""
    module.load(module.entry.parameters)
    folder = f"/sys/module/{module.kname}/parameters"
    shown = module.guest.sh(f'cd {folder} 2>/dev/null || exit 0; for p in *; do v=$(cat $p) && echo "$p=$v"; done').stdout
    told = module.guest.sh(f"modinfo -F parm {module.ko}").stdout
    module.clean_up()
    values = (line.partition("=") for line in shown.splitlines())
    words = (line.partition(":") for line in told.splitlines())
    return {name: value for name, sign, value in values if sign}, {name: text.strip() for name, _, text in words}


def same(first: Iterable[Record], second: Iterable[Record]) -> tuple[str, ...]:
    """What was said both times, in the order of the first, as regular expressions; what was said once is somebody else's."""
    once, twice = ([record.text for record in some if _own(record)] for some in (first, second))
    found: list[str] = []
    at = 0
    for text in once:
        where = next((number for number in range(at, len(twice)) if _shape(twice[number]) == _shape(text)), None)
        if where is None:
            continue
        pattern = _pattern(text, twice[where])
        at = where + 1
        if found[-1:] != [pattern]:  # said again and again
            found.append(pattern)
    return tuple(found[:MOST_LINES])


def _own(record: Record) -> bool:
    return record.facility == KERNEL and "\n" not in record.text and bool(record.text.strip()) and not USUAL.search(record.text)


def _shape(text: str) -> str:
    return WORDS.sub("#", text)


def _escaped(text: str) -> str:
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)


def _pattern(text: str, other: str) -> str:
    """A line as a regular expression: where both times had another number, and where it is a long one, any number will do."""
    pieces, others = WORDS.split(text), iter(WORDS.findall(other))
    found = _escaped(pieces[0])
    for word, piece in zip(WORDS.findall(text), pieces[1:], strict=True):
        if word == next(others) and len(word) <= SHORT:
            found += word
        else:
            found += r"\d+" if word.isdigit() and len(word) < 8 else "0x[0-9a-fA-F]+" if word.startswith("0x") else "[0-9a-f]+"
        found += _escaped(piece)
    return f"^{found}$"
