"""What every module must stand, whatever it is for: loaded, seen, unloaded, and nothing left behind.

A cell's life cycle costs two remote commands, each of which does all there is to do, and three looks around them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kmodlab.ground.errors import LabError
from kmodlab.guest import chip_setup
from kmodlab.guest import shell as target
from kmodlab.guest.shell import GuestLostError, Result
from kmodlab.judge.kernel_log import KERNEL
from kmodlab.results.contract import Check, Stage, Verdict
from kmodlab.verify.module import ModuleUnderTest, StageError, State, kernel_name, modinfo, state_of, typed

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

    def run(self) -> None:
        """Load, look, unload, look again. StageError where the module breaks a promise."""
        before, seconds = self._load()
        left = self._unload(before)
        if left and seconds:
            # In-tree modules that it brought in may rightly stay, and with them their files: a second pass decides.
            before, _ = self._load()
            left = self._unload(before)
        elif self.again and not left:
            self._again()
        self._check(Stage.UNLOAD, "nothing left behind", not left, f"still there after unloading: {', '.join(left[:5])}")

    def _again(self) -> None:
        """Load and unload it once more: what a module forgets to give back is often missed only then."""
        module = self.module
        needs = " ".join(kernel_name(need.name) for need in reversed(module.needs))
        script = f"""{module.prepare()}
insmod {module.ko} {typed(module.entry.parameters)} 2>&1 || exit 93
{WAIT_FOR_USERS.format(name=module.kname)}
rmmod {module.kname} 2>&1 || exit 94
for name in {needs}; do rmmod $name; done
{module.release_kernel()}
exit 0"""
        answer = self._sh(Stage.LOAD, script)
        if answer.rc in (93, 94):
            stage = Stage.LOAD if answer.rc == 93 else Stage.UNLOAD
            raise StageError(stage, f"when it is loaded again: {_refusal(answer.stdout) or 'no word'}")
        self._prepared(answer)
        self._note(Stage.LOAD, "loads again")

    def _load(self) -> tuple[State, bool]:
        """The state before, and whether loading brought in modules of the kernel's own."""
        module, log = self.module, self.module.guest.log
        module.gone = None
        mark = log.mark()
        if script := module.prepare_kernel():
            self._prepared(self._sh(Stage.LOAD, script))
        before = state_of(module.guest.look())
        script = f"""{module.prepare_needs()}
echo "== insmod"
insmod {module.ko} {typed(module.entry.parameters)} 2>&1 && echo "== loaded ok" || echo "== loaded refused $?"
for path in {" ".join(map(shlex.quote, module.entry.paths))}; do [ -e "$path" ] || echo "missing $path"; done
echo "== sysfs"
for file in initstate taint version srcversion; do
    [ -f /sys/module/{module.kname}/$file ] && read -r value </sys/module/{module.kname}/$file && echo "$file $value"
done
exit 0"""
        answer = self._prepared(self._sh(Stage.LOAD, script))
        after = state_of(module.guest.look(entries=False))
        sections = _sections(answer.stdout)
        missing = re.findall(r"^missing (.*)$", answer.stdout, re.MULTILINE)
        refused = next((name for name in sections if name.startswith("loaded refused")), None)
        if refused:
            reason = _refusal(answer.stdout) or f"insmod ends with status {refused.split()[-1]}"
            raise StageError(Stage.LOAD, f"{reason}{self._last_words(mark)}")
        self._note(Stage.LOAD, "insmod")
        self._look(sections, after)
        self._check(Stage.LOAD, "promised files", not missing, f"not there while loaded: {', '.join(missing)}")
        self._promises(Stage.LOAD, module.entry.at_load, mark)
        own = {module.kname, *(kernel_name(need.name) for need in module.needs)}
        return before, bool(after.modules - before.modules - own)

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
        script = f"""{WAIT_FOR_USERS.format(name=module.kname)}
echo "== rmmod"
rmmod {module.kname} 2>&1 && echo "== unloaded ok" || echo "== unloaded refused $?"
{" ".join(f"rmmod {kernel_name(need.name)};" for need in reversed(module.needs))}
{module.release_kernel()}
for path in {" ".join(map(shlex.quote, module.entry.paths))}; do [ -e "$path" ] && echo "left $path"; done
exit 0"""
        answer = self._sh(Stage.UNLOAD, script)
        if "unloaded ok" not in _sections(answer.stdout):
            raise StageError(Stage.UNLOAD, _refusal(answer.stdout) or f"rmmod failed: {answer.stderr.strip()}")
        self._note(Stage.UNLOAD, UNLOADED)
        after = state_of(module.guest.look())
        stays = {module.kname, *(kernel_name(need.name) for need in module.needs)} & after.modules
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
