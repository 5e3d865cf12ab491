"""A module on a target: what it needs there, and how it is loaded, looked at and unloaded."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from kmodlab.build.needs import kernel_name
from kmodlab.guest import chip_setup
from kmodlab.guest import shell as target
from kmodlab.guest.shell import Guest, Look, Memory, Result, number
from kmodlab.judge import leftovers
from kmodlab.plan.catalog import Module
from kmodlab.plan.wiring import Wiring
from kmodlab.results.contract import Stage
from kmodlab.verify.symbols import Symbols

MODPROBE = "modprobe -C /dev/null"
"""Without the distribution's modprobe.d: a module is judged by what it says itself. systemd, say, has dummy make no dummy0."""
SETTLE_SECONDS = 3.0
"""What is left behind must have gone by then: the kernel removes some things when it comes to it."""
MEMORY_SECONDS = 15.0
"""The same of memory: what kfree_rcu() is given waits for others for five seconds (KFREE_DRAIN_JIFFIES), and then for readers."""
SETTLE_STEP = 0.2
"""Seconds between two looks: nothing tells when such a thing has gone."""


class StageError(Exception):
    """A cell cannot go on: what it broke, and at which stage."""

    def __init__(self, stage: Stage, reason: str) -> None:
        self.stage = stage
        self.reason = reason
        super().__init__(f"{stage}: {reason}")


@dataclass
class ModuleUnderTest:
    """A module on a target: what a behaviour test gets as `module` or `loaded`."""

    entry: Module
    guest: Guest
    needs: list[Module]
    """The modules of the catalog that it needs, in loading order."""
    in_tree: list[str]
    """Modules of the kernel's own that it needs."""
    soft: list[str] = field(default_factory=list)
    """Those that it would like to have, where the kernel has them."""
    gpio: Wiring | None = None
    """Where the target's buttons and LED are, if it asks for GPIO lines."""
    gone: Look | None = None
    """What the target was like when a life cycle, the last to use it, had seen it gone with all it needs."""

    taken: bool = False
    """Whether the kernel has one of this name of its own loaded, which nobody takes away: its network card's driver, say."""

    symbols: Symbols | None = None
    """Where its functions lay when a life cycle, the last to do so, had it loaded."""

    again: Symbols | None = None
    """The same when it was loaded once more, perhaps elsewhere."""

    def named(self, text: str) -> str:
        """A text in which addresses of its functions have names, which the kernel does not know any more when it has gone."""
        for each in filter(None, (self.symbols, self.again)):
            text = each.named(text)
        return text

    def told(self, text: str) -> str:
        """The same, in which its variables have names, too."""
        for each in filter(None, (self.symbols, self.again)):
            text = each.told(text)
        return text

    def memory(self, *, anywhere: bool) -> Memory | None:
        """Where it lay when a life cycle, the last to do so, had it loaded, and how much is to be searched when it has gone."""
        return Memory(self.kname, self.symbols.parts, anywhere) if self.symbols and self.symbols.parts else None

    @property
    def name(self) -> str:
        """As its file is called."""
        return self.entry.name

    @property
    def kname(self) -> str:
        """As the kernel calls it."""
        return kernel_name(self.name)

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
        lines = [f"{MODPROBE} -a {' '.join(map(shlex.quote, self.in_tree))} || exit 90"] if self.in_tree else []
        lines += [f"{MODPROBE} -aq {' '.join(map(shlex.quote, self.soft))}"] if self.soft else []
        return "\n".join(lines + ([chip_setup.setup(self.gpio)] if self.gpio else []))

    def release_kernel(self) -> str:
        """Shell commands that take the hardware's stand-ins away; the kernel's own modules stay."""
        return chip_setup.teardown(self.gpio) if self.gpio else ""

    def prepare(self) -> str:
        """Shell commands that load all it needs, as far as that is not loaded."""
        return f"{self.prepare_kernel()}\n{self.prepare_needs()}"

    def prepare_needs(self) -> str:
        """Shell commands that load the modules of the catalog that it needs, as far as they are not loaded."""
        return "\n".join(_insmod(kernel_name(need.name), f"{_ko(need.name)} {typed(need.parameters)}") for need in self.needs)

    def load(self, *parameters: str, check: bool = True) -> Result:
        """Load it, after what it needs, with parameters as one would type them."""
        self.gone = None
        script = f"{self.prepare()}\nexec insmod {self.ko} {typed(' '.join(parameters))}"
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
        needs = [kernel_name(need.name) for need in reversed(self.needs)]
        unload = "\n".join(f"if {_loaded(name)}; then rmmod {name}; fi" for name in ([] if self.taken else [self.kname]) + needs)
        answer = self.guest.sh(f"{unload}\n{self.release_kernel()}\nexec cat /proc/sys/kernel/tainted", timeout=self.entry.limit)
        return answer.stderr.strip(), number(answer.stdout)

    def is_loaded(self) -> bool:
        """Whether the kernel has it."""
        return self.guest.sh(_loaded(self.kname), check=False).rc == 0


def what_is_left(
    guest: Guest, before: Look, now: Look, own: Iterable[str], *, userland: bool = False, memory: Memory | None = None
) -> tuple[leftovers.Left, Look]:
    """What is other than before, in the end, and the look that says so. What takes a moment to go is waited for."""
    own = frozenset(own)
    began = time.monotonic()
    while (left := leftovers.between(before.places, now.places, own)) or (userland and left.userland):
        limit = MEMORY_SECONDS if leftovers.lost_memory(left) else SETTLE_SECONDS
        if time.monotonic() > began + limit * guest.patience:
            break
        _, now = guest.look(f"sleep {SETTLE_STEP}", timeout=SETTLE_SECONDS, gone=memory)
    return left, now


def _insmod(kname: str, arguments: str) -> str:
    return f"{_loaded(kname)} || insmod {arguments} || exit 91"


def _loaded(kname: str) -> str:
    """A shell condition, which starts no program: in /sys/module, what is built in has no such file."""
    return f"[ -e /sys/module/{kname}/initstate ]"


def kernel_words(parameters: str) -> list[str]:
    """Parameters as typed after `insmod NAME.ko`, each as the kernel reads it: a value with blanks is quoted for it.

    insmod puts its arguments one after the other; whether it quotes them depends on its version, and a quoted one is left alone.
    """
    words = (word.partition("=") for word in shlex.split(parameters))
    return [
        f'{name}{sign}"{value}"' if re.search(r"\s", value) and '"' not in value else f"{name}{sign}{value}"
        for name, sign, value in words
    ]


def typed(parameters: str) -> str:
    """The same as a shell is given them."""
    return shlex.join(kernel_words(parameters))


def _ko(name: str) -> str:
    return f"{target.MODULES}/{name}.ko"
