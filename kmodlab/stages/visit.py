"""A machine for a person: brought up with a tree's modules there, a prompt on it, and its end."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from kmodlab.ground.cache import cache_dir
from kmodlab.ground.ending import uninterrupted
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import make_printable, remove_tree, tail
from kmodlab.guest.shell import MODULES
from kmodlab.machine import debugger
from kmodlab.machine.debugger import Debugged
from kmodlab.machine.target import Target
from kmodlab.machine.vm import Vm
from kmodlab.report.remarks import remarks
from kmodlab.results.contract import Stage
from kmodlab.run.column import Column
from kmodlab.run.lab import Lab
from kmodlab.stages import planning
from kmodlab.stages.request import Request

ENDING_SECONDS, ENDING_STEP = 10.0, 0.1
"""For a process that has closed its network to be gone."""
LAST_WORDS = 4096
"""Bytes of a console's end that are shown when its machine has ended under somebody's hands."""
LOST = 255
"""SSH's status where the connection was lost."""
HALTED = ("-o", "ControlPath=none", "-o", "ServerAliveInterval=0")
"""A connection that is not given up while a debugger halts the machine."""


def visit(request: Request, console: Console, *, gdb: bool = False) -> int:
    """A prompt on one kernel's machine; when that is closed, the machine ends. The status that it was left with.

    LabError where the machine or its modules cannot be had. A module that does not build is told, and is missing there.
    """
    lab = planning.plan(request, cache_dir() / "visits")
    try:
        kernels = list(lab.columns)
        if len(kernels) != 1:
            known = f"it asks for {len(kernels)}" if kernels else "it cannot be resolved"
            raise LabError(f"KERNEL: {request.kernels}: a prompt is on one machine, {known}", hint="see `kmodlab kernels`")
        column = lab.column(kernels[0])
        try:
            return _visit(lab, column, console, gdb=gdb)
        finally:
            uninterrupted(column.leave)
    finally:
        remove_tree(lab.run.folder)


def _visit(lab: Lab, column: Column, console: Console, *, gdb: bool) -> int:
    column.prepare()
    target = column.target
    if gdb and not isinstance(target, Vm):
        raise LabError(f"--gdb: {column.kernel} is no VM of QEMU's, which has a debugger's stub", hint="name another kernel")
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(target.start)
        column.build()
        column.sign()
        coming.result()
    column.deploy_to(target.guest())
    for remark in remarks(lab.run.collect()):
        if remark.first.stage in (Stage.BUILD, Stage.SIGN):
            console.print(f"! {remark.line}", markup=False, soft_wrap=True)
    _welcome(column, console)
    if gdb and isinstance(target, Vm):
        names = [entry.name for entry in column.alive(Stage.DEPLOY)]
        known = [Debugged(column.ko(name), column.debug(name), lab.order.sources[name].part.root) for name in names]
        for line in debugger.offer(target, known, lab.order.only):
            console.print(line, markup=False, soft_wrap=True)
    status = _prompt(column, target, HALTED if gdb else ())
    if status == LOST and _has_ended(target):
        make_printable(column.console)
        console.print(f"the machine has ended; its console said at last:\n{tail(column.console, LAST_WORDS)}", markup=False)
    return status


def _has_ended(target: Target) -> bool:
    """Whether a machine whose connection was lost has gone, too: that is known a moment later."""
    deadline = time.monotonic() + ENDING_SECONDS
    while target.state is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(ENDING_STEP)
    return True


def _welcome(column: Column, console: Console) -> None:
    there = [f"{entry.name}.ko" for entry in column.alive(Stage.DEPLOY)]
    console.print(f"{column.kernel}: Linux {column.release}; Ctrl-D ends it", markup=False, soft_wrap=True)
    console.print(f"{MODULES}: {' '.join(there) or 'no module could be built'}", markup=False, soft_wrap=True)


def _prompt(column: Column, target: Target, options: tuple[str, ...]) -> int:
    """SSH's status: that of the last command there, or `LOST`."""
    guest = target.guest()
    terminal = sys.stdin.isatty()
    prompt = rf"\u@{column.kernel}:\w\$ "
    shell = "bash --norc --noprofile -i" if terminal else "bash -s"
    script = f"cd {MODULES}; export PS1={shlex.quote(prompt)}; exec {shell}"
    command = ["ssh", *(["-t"] if terminal else []), *options, "-F", str(guest.ssh_config), guest.name]
    with subprocess.Popen([*command, "--", guest.command_line(script)]) as ssh:  # as long as the person stays
        return ssh.wait()
