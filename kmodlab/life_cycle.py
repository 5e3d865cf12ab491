"""What every module must stand, whatever it is for: loaded, seen, unloaded, and nothing left behind.

A cell's life cycle costs two remote commands, each of which does all there is to do, and three looks around them.
"""

from __future__ import annotations

import re
import shlex
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from kmodlab import guest as target
from kmodlab import sandbox, wiring
from kmodlab.cache import regular_files
from kmodlab.catalog import Module
from kmodlab.errors import LabError
from kmodlab.guest import Guest, Look, Result, number
from kmodlab.results import Check, Stage, Verdict
from kmodlab.sandbox import Limits
from kmodlab.wiring import Wiring

MODINFO = f'cd {sandbox.WORK}; for file; do modinfo -0 "./$file" | base64 -w 0; echo; done'
"""One line a file, whatever a module says of itself."""
LINE = 4096
"""Characters of a line of the kernel's files that are read."""
LOG_LINE_LIMIT = 10.0
"""Seconds that a promised log line may come after the command that brings it about."""


class StageError(Exception):
    """A cell cannot go on: what it broke, and at which stage."""

    def __init__(self, stage: Stage, reason: str) -> None:
        self.stage = stage
        self.reason = reason
        super().__init__(f"{stage}: {reason}")


@dataclass(frozen=True)
class State:
    """A target at one moment."""

    tainted: int
    modules: frozenset[str]
    entries: frozenset[str]
    interrupts: frozenset[str]

    def left_since(self, before: State) -> list[str]:
        """What is there now and was not before: files, devices and interrupts, sorted."""
        return sorted((self.entries - before.entries) | {f"interrupt {each}" for each in self.interrupts - before.interrupts})


@dataclass
class ModuleUnderTest:
    """A module on a target: what a behaviour test gets as `module` or `loaded`."""

    entry: Module
    guest: Guest
    needs: list[Module]
    """The modules of the catalog that it needs, in loading order."""
    in_tree: list[str]
    """Modules of the kernel's own that it needs."""
    gpio: Wiring | None = None
    """Where the target's buttons and LED are, if it asks for GPIO lines."""
    gone: State | None = None
    """What the target was like when a life cycle, the last to use it, had seen it gone with all it needs."""

    @property
    def name(self) -> str:
        """As its file is called."""
        return self.entry.name

    @property
    def kname(self) -> str:
        """As the kernel calls it."""
        return _kname(self.name)

    @property
    def ko(self) -> str:
        """Its file on the target."""
        return _ko(self.name)

    @property
    def programs(self) -> str:
        """The folder of the built user programs on the target."""
        return target.PROGRAMS

    def prepare_kernel(self) -> str:
        """Shell commands that load what it needs of the kernel's own modules, and the hardware's stand-ins."""
        lines = [f"modprobe -a {' '.join(map(shlex.quote, self.in_tree))} || exit 90"] if self.in_tree else []
        return "\n".join(lines + ([self.gpio.setup] if self.gpio else []))

    def release_kernel(self) -> str:
        """Shell commands that take the hardware's stand-ins away; the kernel's own modules stay."""
        return self.gpio.teardown if self.gpio else ""

    def prepare(self) -> str:
        """Shell commands that load all it needs, as far as that is not loaded."""
        return f"{self.prepare_kernel()}\n{self.prepare_needs()}"

    def prepare_needs(self) -> str:
        """Shell commands that load the modules of the catalog that it needs, as far as they are not loaded."""
        return "\n".join(_insmod(_kname(need.name), f"{_ko(need.name)} {need.parameters}") for need in self.needs)

    def load(self, *parameters: str, check: bool = True) -> Result:
        """Load it, after what it needs, with parameters as one would type them."""
        self.gone = None
        script = f"{self.prepare()}\nexec insmod {self.ko} {' '.join(parameters)}"
        return self.guest.sh(script, check=check, timeout=self.entry.limit)

    def unload(self, check: bool = True) -> Result:
        """Unload it, but not what it needs."""
        return self.guest.sh(f"exec rmmod {self.kname}", check=check, timeout=self.entry.limit)

    def unload_if_loaded(self) -> None:
        """Unload it, unless a test has done so."""
        self.guest.sh(f"{_loaded(self.kname)} || exit 0; exec rmmod {self.kname}", timeout=self.entry.limit)

    def clean_up(self) -> tuple[str, int]:
        """Unload it, where it is loaded, and what it needs: why that failed (empty where it did not), and the taint then."""
        if self.gone:
            return "", self.gone.tainted
        needs = (_kname(need.name) for need in reversed(self.needs))
        unload = "\n".join(f"if {_loaded(name)}; then rmmod {name}; fi" for name in (self.kname, *needs))
        answer = self.guest.sh(f"{unload}\n{self.release_kernel()}\nexec cat /proc/sys/kernel/tainted", timeout=self.entry.limit)
        return answer.stderr.strip(), number(answer.stdout)

    def is_loaded(self) -> bool:
        """Whether the kernel has it."""
        return self.guest.sh(_loaded(self.kname), check=False).rc == 0


@dataclass
class LifeCycle:
    """One pass through a module's life; the checks it made are in `checks`, by stage."""

    module: ModuleUnderTest
    key_known: bool
    """Whether the kernel can know the lab's key, so that it must accept the signature."""
    ko: Path
    """The module's file on the controller."""
    checks: dict[Stage, list[Check]] = field(default_factory=dict)

    def run(self) -> None:
        """Load, look, unload, look again. StageError where the module breaks a promise."""
        before, seconds = self._load()
        left = self._unload(before)
        if left and seconds:
            # In-tree modules that it brought in may rightly stay, and with them their files: a second pass decides.
            before, _ = self._load()
            left = self._unload(before)
        self._check(Stage.UNLOAD, "nothing left behind", not left, f"still there after unloading: {', '.join(left[:5])}")

    def _load(self) -> tuple[State, bool]:
        """The state before, and whether loading brought in modules of the kernel's own."""
        module, log = self.module, self.module.guest.log
        module.gone = None
        mark = log.mark()
        if script := module.prepare_kernel():
            self._prepared(self._sh(Stage.LOAD, script))
        before = _state(module.guest.look())
        script = f"""{module.prepare_needs()}
echo "== insmod"
insmod {module.ko} {module.entry.parameters} 2>&1 && echo "== loaded ok" || echo "== loaded refused $?"
for path in {" ".join(map(shlex.quote, module.entry.paths))}; do [ -e "$path" ] || echo "missing $path"; done
echo "== sysfs"
for file in initstate taint version srcversion; do
    [ -f /sys/module/{module.kname}/$file ] && read -r value </sys/module/{module.kname}/$file && echo "$file $value"
done
exit 0"""
        answer = self._prepared(self._sh(Stage.LOAD, script))
        after = _state(module.guest.look(entries=False))
        sections = _sections(answer.stdout)
        missing = re.findall(r"^missing (.*)$", answer.stdout, re.MULTILINE)
        refused = next((name for name in sections if name.startswith("loaded refused")), None)
        if refused:
            raise StageError(Stage.LOAD, _refusal(answer.stdout) or f"insmod ends with status {refused.split()[-1]}")
        self._note(Stage.LOAD, "insmod")
        self._look(sections, after)
        self._check(Stage.LOAD, "promised files", not missing, f"not there while loaded: {', '.join(missing)}")
        self._promises(Stage.LOAD, module.entry.at_load, mark)
        own = {module.kname, *(_kname(need.name) for need in module.needs)}
        return before, bool(after.modules - before.modules - own)

    def _prepared(self, answer: Result) -> Result:
        said = "".join((answer.stderr or answer.stdout).strip().splitlines()[-1:])
        if answer.rc == wiring.FAILED:
            raise LabError(f"{self.module.guest.name}: the GPIO chip of its wiring cannot be had: {said}")
        if answer.rc:
            raise StageError(Stage.LOAD, f"what it needs cannot be loaded: {said}")
        return answer

    def _look(self, sections: dict[str, list[str]], after: State) -> None:
        module = self.module
        sysfs = dict(line.split(" ", 1) for line in sections["sysfs"] if " " in line)
        self._check(Stage.LOAD, "in lsmod", module.kname in after.modules, f"{module.kname} is not in /proc/modules")
        self._check(Stage.LOAD, "in /sys/module", sysfs.get("initstate") == "live", f"initstate is {sysfs.get('initstate')}")
        for name in ("version", "srcversion"):
            told = modinfo(self.ko).get(name, "")
            self._check(
                Stage.LOAD, name, sysfs.get(name, "") == told, f"/sys/module says '{sysfs.get(name, '')}', the file '{told}'"
            )
        self._check(Stage.LOAD, "signer", bool(modinfo(self.ko).get("signer")), "modinfo names no signer")
        unsigned = self.key_known and "E" in sysfs.get("taint", "")
        self._check(
            Stage.LOAD, "signature accepted", not unsigned, "the kernel knows the key and calls the module unsigned (taint E)"
        )

    def _unload(self, before: State) -> list[str]:
        module, log = self.module, self.module.guest.log
        mark = log.mark()
        script = f"""echo "== rmmod"
rmmod {module.kname} 2>&1 && echo "== unloaded ok" || echo "== unloaded refused $?"
{" ".join(f"rmmod {_kname(need.name)};" for need in reversed(module.needs))}
{module.release_kernel()}
for path in {" ".join(map(shlex.quote, module.entry.paths))}; do [ -e "$path" ] && echo "left $path"; done
exit 0"""
        answer = self._sh(Stage.UNLOAD, script)
        if "unloaded ok" not in _sections(answer.stdout):
            raise StageError(Stage.UNLOAD, _refusal(answer.stdout) or f"rmmod failed: {answer.stderr.strip()}")
        after = _state(module.guest.look())
        stays = {module.kname, *(_kname(need.name) for need in module.needs)} & after.modules
        module.gone = None if stays else after
        self._check(Stage.UNLOAD, "module gone", not stays, f"still in /proc/modules: {', '.join(sorted(stays))}")
        self._promises(Stage.UNLOAD, module.entry.at_unload, mark)
        left = re.findall(r"^left (.*)$", answer.stdout, re.MULTILINE)
        return sorted({*after.left_since(before), *left})

    def _sh(self, stage: Stage, script: str) -> Result:
        try:
            return self.module.guest.sh(script, check=False, timeout=self.module.entry.limit)
        except AssertionError as problem:
            raise StageError(stage, f"did not end within {self.module.entry.limit:g} s") from problem

    def _promises(self, stage: Stage, patterns: Iterable[str], since: int) -> None:
        """Each promised line must come, in order (unless the catalog says otherwise), each after the one before."""
        seen = since
        for pattern in patterns:
            try:
                record = self.module.guest.log.expect(pattern, seen, LOG_LINE_LIMIT)
            except AssertionError:
                self._check(stage, f"log line /{pattern}/", False, f"the promised log line /{pattern}/ did not come")
                return
            self._note(stage, f"log line /{pattern}/")
            seen = since if self.module.entry.any_order else record.seq

    def _note(self, stage: Stage, name: str) -> None:
        self.checks.setdefault(stage, []).append(Check(name=name, verdict=Verdict.PASS))

    def _check(self, stage: Stage, name: str, good: bool, reason: str) -> None:
        if good:
            self._note(stage, name)
        else:
            self.checks.setdefault(stage, []).append(Check(name=name, verdict=Verdict.FAIL, reason=reason))


def modinfo(ko: Path) -> dict[str, str]:
    """What modinfo says of a module's file, by field; the last value of a field that is there more than once."""
    return _told(ko.parent).get(ko.name, {})


@cache
def _told(folder: Path) -> dict[str, dict[str, str]]:
    """The same of all modules of a folder, by file: one sandbox for all, as starting one takes longer than modinfo does."""
    names = [path.name for path in regular_files(folder, "*.ko")]
    limits = Limits(seconds=60)
    answer = sandbox.run(None, ["sh", "-c", MODINFO, "sh", *names], read_only={folder: sandbox.WORK}, limits=limits)
    told = {}
    for name, line in zip(names, answer.output.splitlines(), strict=False):
        fields = (entry.partition("=") for entry in b64decode(line).decode(errors="replace").split("\0"))
        told[name] = {field: value.strip() for field, _, value in fields}
    return told


def in_tree_needs(ko: Path, own: Iterable[str]) -> list[str]:
    """The kernel's own modules that a module's file depends on: all its `depends` but the lab's `own`."""
    lab = {_kname(name) for name in own}
    return [name for name in modinfo(ko).get("depends", "").split(",") if name and _kname(name) not in lab]


def _refusal(output: str) -> str:
    """insmod's or rmmod's own word on why it failed."""
    found = re.search(r"^(?:insmod|rmmod): (?:ERROR: )?(.*)$", output, re.MULTILINE)
    return found[1].replace(f"{target.MODULES}/", "") if found else ""


def _sections(output: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {"": []}
    current = sections[""]
    for line in output.splitlines():
        if line.startswith("== "):
            current = sections.setdefault(line[3:], [])
        else:
            current.append(line)
    return sections


def _state(look: Look) -> State:
    interrupts = (re.match(r" *(\d+):.*\s(\S.*)$", line[:LINE]) for line in look.interrupts.splitlines())
    return State(
        tainted=look.tainted,
        modules=frozenset(line[:LINE].split(" ")[0] for line in look.modules.splitlines()),
        entries=look.entries,
        interrupts=frozenset(f"{found[1]} {found[2]}" for found in interrupts if found),
    )


def _insmod(kname: str, arguments: str) -> str:
    return f"{_loaded(kname)} || insmod {arguments} || exit 91"


def _loaded(kname: str) -> str:
    """A shell condition, which starts no program: in /sys/module, what is built in has no such file."""
    return f"[ -e /sys/module/{kname}/initstate ]"


def _kname(name: str) -> str:
    return name.replace("-", "_")


def _ko(name: str) -> str:
    return f"{target.MODULES}/{name}.ko"
