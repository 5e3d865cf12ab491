"""What every module must stand, whatever it is for: loaded, seen, unloaded, and nothing left behind.

A cell's life cycle costs three remote commands, each of which does all there is to do and ends with a look at the target.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kmodlab.build.needs import kernel_name, modinfo
from kmodlab.ground.errors import LabError
from kmodlab.guest import chip_setup
from kmodlab.guest import shell as target
from kmodlab.guest.shell import GuestLostError, Look, Memory, Result
from kmodlab.judge import leftovers
from kmodlab.judge.kernel_log import KERNEL
from kmodlab.results.contract import Check, Stage, Verdict
from kmodlab.verify import symbols
from kmodlab.verify.module import ModuleUnderTest, StageError, typed, what_is_left

UNLOADED = "rmmod"
"""The check that a module could be unloaded."""
USUAL = re.compile(r"loading out-of-tree module taints kernel|module verification failed")
"""What the kernel says of any module that it loads."""
WAIT_FOR_USERS = """\
tries=0
while [ $tries -lt 30 ] && read -r users </sys/module/{name}/refcnt && [ "$users" != 0 ]; do tries=$((tries + 1)); sleep 0.1; done
"""
"""A program that somebody else runs (udev, a daemon) may look at what has just come, for a moment; nothing tells when it has
gone.
"""
LOG_LINE_LIMIT = 10.0
"""Seconds that a promised log line may come after the command that brings it about."""


@dataclass
class LifeCycle:
    """One pass through a module's life; the checks it made are in `checks`, by stage."""

    module: ModuleUnderTest
    key_known: bool
    """Whether the kernel can know the lab's key, so that it must accept the signature."""
    ko: Path
    """The module's file on the controller."""
    checks: dict[Stage, list[Check]] = field(default_factory=dict)
    again: bool = True
    """Whether to load it once more, because no other test of its cell does."""
    thorough: bool = True
    """Whether to search all of the kernel's variables for what still points to it when it has gone: 0.05 s on an emulated one."""
    at: Stage = Stage.LOAD
    """How far it has come: unloading begins when all that loading promises was looked at."""

    def run(self) -> None:
        """Load, look, unload, look again. StageError where the module breaks a promise."""
        log = self.module.guest.log
        before, seconds = self._load(log.latest)
        left = self._unload(before)
        twice = bool(left and seconds)
        if twice:
            # In-tree modules that it brought in may rightly stay, and with them their files: a second pass decides.
            before, _ = self._load(log.mark())
            left = self._unload(before)
        self._release()
        if self.again and not left and not twice:
            self._again()
        self._check(Stage.UNLOAD, "nothing left behind", not left, left)

    def _release(self) -> None:
        """Take the hardware's stand-ins away, which were there before the module came."""
        if self.module.gpio:
            gone = self.module.gone
            _, after = self._sh(Stage.UNLOAD, f"{self.module.release_kernel()}\nexit 0")
            self.module.gone = gone and after

    def _again(self) -> None:
        """Load and unload it once more: what a module forgets to give back is often missed only then."""
        module = self.module
        needs = " ".join(kernel_name(need.name) for need in reversed(module.needs))
        script = f"""{module.prepare()}
insmod {module.ko} {typed(module.entry.parameters)} 2>&1 || exit 93
for file in /sys/module/{module.kname}/sections/.*text*; do read -r address <$file && echo "${{file##*/}} $address"; done
{WAIT_FOR_USERS.format(name=module.kname)}
rmmod {module.kname} 2>&1 || exit 94
for name in {needs}; do rmmod $name; done
{module.release_kernel()}
exit 0"""
        answer, module.gone = self._sh(Stage.LOAD, script)
        if answer.rc in (93, 94):
            module.gone = None
            stage = Stage.LOAD if answer.rc == 93 else Stage.UNLOAD
            raise StageError(stage, f"when it is loaded again: {_refusal(answer.stdout) or 'no word'}")
        self._prepared(answer)
        module.again = self._map(answer.stdout)
        self._note(Stage.LOAD, "loads again")

    def _load(self, mark: int) -> tuple[Look, bool]:
        """What the target was like before, and whether loading brought in modules of the kernel's own.

        The log is read from a mark.
        """
        module = self.module
        module.gone = None
        if script := module.prepare_kernel():
            answer, before = self._sh(Stage.LOAD, script)
            self._prepared(answer)
        else:
            before = module.guest.look_again()
        if module.kname in leftovers.modules(before.places):
            module.taken = True
            raise StageError(Stage.LOAD, f"the kernel has a module {module.kname} of its own loaded: rename this one")
        script = f"""{module.prepare_needs()}
echo "== insmod"
[ ! -e /sys/module/{module.kname} ] || echo "== built in"
insmod {module.ko} {typed(module.entry.parameters)} 2>&1 && echo "== loaded ok" || echo "== loaded refused $?"
for path in {" ".join(map(shlex.quote, module.entry.paths))}; do [ -e "$path" ] || echo "missing $path"; done
echo "== sysfs"
for file in initstate taint version srcversion; do
    [ -f /sys/module/{module.kname}/$file ] && read -r value </sys/module/{module.kname}/$file && echo "$file $value"
done
exit 0"""
        answer, after = self._sh(Stage.LOAD, script, everywhere=False)
        self._prepared(answer)
        sections = _sections(answer.stdout)
        missing = re.findall(r"^missing (.*)$", answer.stdout, re.MULTILINE)
        refused = next((name for name in sections if name.startswith("loaded refused")), None)
        if refused:
            reason = _refusal(answer.stdout) or f"insmod ends with status {refused.split()[-1]}"
            reason += f": {module.kname} is part of the kernel: rename this one" if "built in" in sections else ""
            raise StageError(Stage.LOAD, f"{reason}{self._last_words(mark)}{self._left_by_refusal(before)}")
        self._note(Stage.LOAD, "insmod")
        module.again = None
        module.symbols = self._map(after.places.get(f"/sys/module/{module.kname}/sections", ""))
        loaded = leftovers.modules(after.places)
        self._look(sections, loaded)
        self._check(Stage.LOAD, "promised files", not missing, f"not there while loaded: {', '.join(missing)}")
        self._promises(Stage.LOAD, module.entry.at_load, mark)
        return before, bool(loaded - leftovers.modules(before.places) - self._own)

    def _map(self, told: str) -> symbols.Symbols:
        """Which function lies where while it is loaded."""
        addresses = (re.fullmatch(r"(\.\S{1,80}) 0x([0-9a-f]{1,16})", line) for line in told.splitlines())
        return symbols.of(self.module.kname, self.ko.read_bytes(), {each[1]: int(each[2], 16) for each in addresses if each})

    @property
    def _own(self) -> frozenset[str]:
        """The module and those of the catalog that it needs, as the kernel calls them."""
        return frozenset({self.module.kname, *(kernel_name(need.name) for need in self.module.needs)})

    def _left_by_refusal(self, before: Look) -> str:
        """What a load that failed has left behind, in words: nothing, as a rule. What the module needs is still there."""
        module = self.module
        needs = "\n".join(f"rmmod {kernel_name(need.name)}" for need in reversed(module.needs))
        _, after = self._sh(Stage.LOAD, f"{needs}\nexit 0")
        if leftovers.modules(after.places) - leftovers.modules(before.places):
            return ""  # in-tree modules that it brought in may rightly stay, and with them their files
        left = self._left(before, after)
        self._check(Stage.UNLOAD, "nothing left behind", not left, left)
        return f"; and {left}" if left else ""

    def _left(self, before: Look, after: Look) -> str:
        """What is left behind, in words. What takes a moment to go is waited for."""
        left, after = what_is_left(self.module.guest, before, after, self._own, memory=self._memory)
        if self.module.gone:
            self.module.gone = after
        text = self.module.told(str(left))
        if left.pointed:
            raise StageError(Stage.UNLOAD, text)  # to load it again would only crash a kernel that is broken already
        return text

    def _last_words(self, mark: int) -> str:
        """What the log said last when a module refused to load: insmod has a word for each number, the module a reason."""
        try:
            records = self.module.guest.log.since(mark)
        except GuestLostError:
            return ""
        said = [record.text for record in records if record.facility == KERNEL and not USUAL.search(record.text)]
        return f" (the log's last words: {said[-1]})" if said else ""

    def _prepared(self, answer: Result) -> Result:
        said = "".join((answer.stderr or answer.stdout).strip().splitlines()[-1:])
        if answer.rc == chip_setup.FAILED:
            raise LabError(f"{self.module.guest.name}: the GPIO chip of its wiring cannot be had: {said}")
        if answer.rc:
            raise StageError(Stage.LOAD, f"what it needs cannot be loaded: {said}")
        return answer

    def _look(self, sections: dict[str, list[str]], loaded: frozenset[str]) -> None:
        module = self.module
        sysfs = dict(line.split(" ", 1) for line in sections["sysfs"] if " " in line)
        self._check(Stage.LOAD, "in lsmod", module.kname in loaded, f"{module.kname} is not in /proc/modules")
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

    def _unload(self, before: Look) -> str:
        """Unload it; what it left behind, in words."""
        self.at = Stage.UNLOAD
        module, log = self.module, self.module.guest.log
        mark = log.mark() if module.entry.at_unload else 0
        script = f"""{WAIT_FOR_USERS.format(name=module.kname)}
echo "== rmmod"
rmmod {module.kname} 2>&1 && echo "== unloaded ok" || echo "== unloaded refused $?"
{" ".join(f"rmmod {kernel_name(need.name)};" for need in reversed(module.needs))}
for path in {" ".join(map(shlex.quote, module.entry.paths))}; do [ -e "$path" ] && echo "left $path"; done
exit 0"""
        answer, after = self._sh(Stage.UNLOAD, script, gone=self._memory)
        if "unloaded ok" not in _sections(answer.stdout):
            raise StageError(Stage.UNLOAD, _refusal(answer.stdout) or f"rmmod failed: {answer.stderr.strip()}")
        self._note(Stage.UNLOAD, UNLOADED)
        stays = self._own & leftovers.modules(after.places)
        module.gone = None if stays else after
        self._check(Stage.UNLOAD, "module gone", not stays, f"still in /proc/modules: {', '.join(sorted(stays))}")
        self._promises(Stage.UNLOAD, module.entry.at_unload, mark)
        left = self._left(before, after)
        promised = re.findall(r"^left (.*)$", answer.stdout, re.MULTILINE)
        return left or (f"still there after unloading: {', '.join(promised[:5])}" if promised else "")

    @property
    def _memory(self) -> Memory | None:
        return self.module.memory(anywhere=self.thorough)

    def _sh(self, stage: Stage, script: str, *, everywhere: bool = True, gone: Memory | None = None) -> tuple[Result, Look]:
        try:
            return self.module.guest.look(script, everywhere=everywhere, timeout=self.module.entry.limit, gone=gone)
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
