"""QEMU's own debugger's stub, and the script by which a person's gdb finds the modules that are loaded under it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kmodlab.build.elf import anchors, symbols, without_addresses
from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, write_aside
from kmodlab.machine.vm import Vm

SCRIPT = Path(__file__).with_name("gdb_script.py")
LARGEST = 256 << 20
"""Bytes of a module's file."""
COMES = "do_init_module"
"""The kernel's function that a module has come to when it is in memory and nothing of it has run."""
FIRST_ARGUMENT = {"x86_64": "$rdi", "arm64": "$x0", "armhf": "$r0"}
SOCKET = "gdb"


class Debugged(NamedTuple):
    """A module that a debugger is to know."""

    ko: Path
    """Its file, as it is on the machine."""
    debug: Path
    """The same with debug information; not there where there is none."""
    sources: Path
    """The folder of its tree."""


def offer(vm: Vm, modules: Sequence[Debugged], only: Sequence[str] = ()) -> list[str]:
    """Have a VM's QEMU wait for a debugger; what to tell the person who is to start one.

    Of the modules in `only` the first function that runs gets a breakpoint. LabError where QEMU or the kernel does not offer
    what that needs.
    """
    found = vm.ssh(f"grep ' {COMES}$' /proc/kallsyms").output.split()
    if not found or not int(found[0], 16):
        raise LabError(f"--gdb: kernel {vm.kernel.id} does not tell where its {COMES} is", hint="it needs CONFIG_KALLSYMS")
    (said,) = vm.qmp(("human-monitor-command", {"command-line": f"gdbserver unix:{SOCKET},server=on,wait=off"}))
    if not (vm.wires / SOCKET).exists():
        raise LabError(f"--gdb: QEMU offers no debugger's stub: {said.strip()}")
    known = {
        "stub": str(vm.wires / SOCKET),
        "address": int(found[0], 16),
        "argument": FIRST_ARGUMENT[vm.kernel.kernel_arch],
        "work": str(sandbox.WORK),
        "modules": {_name(each): _module(vm, each, stop=each.ko.stem in only) for each in modules if each.debug.exists()},
    }
    if not known["modules"]:
        raise LabError("--gdb: no module has debug information", hint="a kernel without CONFIG_DEBUG_INFO builds none")
    script = vm.folder / "gdb"
    write_aside(script, f"python import json; KNOWN = json.loads({json.dumps(json.dumps(known))})\nsource {SCRIPT}\n")
    gdb = "gdb-multiarch" if vm.kernel.foreign else "gdb"
    return [
        f"debugger, in another terminal: {gdb} -q -x {shlex.quote(str(script))}",
        "    it says `add-symbol-file` for each of these modules that is loaded from then on"
        + (f", and stops where {' '.join(only)} begins" if only else "; Ctrl-C, `break FUNCTION`, `continue` before it is"),
    ]


def _name(module: Debugged) -> str:
    """What the kernel calls it."""
    return module.ko.stem.replace("-", "_")


def _module(vm: Vm, module: Debugged, *, stop: bool) -> dict[str, object]:
    content, file = read_regular(module.ko, LARGEST), vm.folder / module.debug.name
    file.write_bytes(without_addresses(read_regular(module.debug, LARGEST)))
    found = {"file": str(file), "sources": str(module.sources), "anchors": anchors(content)}
    return {**found, "stop": _first_function(content) if stop else ""}


def _first_function(content: bytes) -> str:
    """What a module's init is called in C: `init_module` is another name of it."""
    every = [each for each in symbols(content) if each.function]
    init = next((each for each in every if each.name == "init_module"), None)
    same = [each.name for each in every if init and (each.section, each.value) == (init.section, init.value)]
    return min(same, key=lambda name: name in ("init_module", "__inittest"), default="")
