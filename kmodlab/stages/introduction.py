"""A tree that kmodlab has never seen: its modules are loaded on a machine of the lab, and a catalog and first tests are written
of what was seen there, for their author to correct.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from kmodlab.build.needs import kernel_name
from kmodlab.build.trees import TESTS
from kmodlab.ground.cache import cache_dir
from kmodlab.ground.ending import uninterrupted
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import remove_tree, write_aside
from kmodlab.guest.shell import Guest, GuestLostError
from kmodlab.plan.catalog import FILE, Module
from kmodlab.report.remarks import remarks
from kmodlab.results.contract import Stage, one_line
from kmodlab.run.column import Column
from kmodlab.run.lab import Lab
from kmodlab.run.order import catalog_of
from kmodlab.stages import planning
from kmodlab.stages.request import Request
from kmodlab.verify.first_look import Seen, look_at
from kmodlab.verify.worker import Worker

OLD = ".old"
"""What stands behind the name of a file that was written over."""


@dataclass(frozen=True)
class Introduction:
    """A module, and what is written of it."""

    entry: Module
    """What was known of it before."""
    source: list[str]
    """Its source files from the tree's folder, where they are not NAME.c alone."""
    seen: Seen


def introduce(request: Request, folder: Path, console: Console, *, force: bool) -> None:
    """Write the catalog and first tests of a folder's modules. LabError where such files are there (unless `force`), and
    where none of its modules can be loaded.
    """
    _insist_on_room(folder, force)
    lab = planning.plan(request, cache_dir() / "visits")
    try:
        if len(lab.columns) != 1:
            raise LabError(f"KERNEL: {request.kernels}: one machine is looked at", hint="see `kmodlab kernels`")
        (column,) = lab.columns.values()
        try:
            found = _met(lab, column, console)
            make = catalog_of(lab.order.tree).make
        finally:
            uninterrupted(column.leave)
    finally:
        remove_tree(lab.run.folder)
    if not found:
        raise LabError(
            f"{folder}: none of its modules can be described", hint="mend what is said above, or name another --kernel"
        )
    where = f"{column.kernel} ({column.release})"
    texts = {folder / FILE: first_catalog(found, make, where)}
    for each in found:
        texts[folder / TESTS / f"test_{re.sub(r'[^A-Za-z0-9]', '_', each.seen.name)}.py"] = first_test(each.seen, where)
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            shutil.copy2(path, f"{path}{OLD}")
            console.print(f"{path}: written over; what it was is in {path.name}{OLD}", markup=False, soft_wrap=True)
        write_aside(path, text)
    console.print(f"written: {' '.join(str(path) for path in texts)}", markup=False, soft_wrap=True)
    console.print(f"Correct them, and say what it is for. Then: kmodlab matrix --modules {folder}", markup=False, soft_wrap=True)


def _insist_on_room(folder: Path, force: bool) -> None:
    if not folder.is_dir():
        raise LabError(f"{folder} is no folder", hint="name the one with your Makefile")
    there = [path for path in (folder / FILE, *sorted((folder / TESTS).glob("test_*.py"))) if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise LabError(f"{there[0]}{more}: is there already", hint=f"--force writes it anew, and keeps it as NAME{OLD}")


def _met(lab: Lab, column: Column, console: Console) -> list[Introduction]:
    """What is seen of each module that can be loaded; of the others it is told why not."""
    column.prepare()
    column.build()
    column.sign()
    column.target.start()
    column.deploy()
    for remark in remarks(lab.run.collect()):
        if remark.first.stage in (Stage.BUILD, Stage.SIGN):
            console.print(f"! {remark.line}", markup=False, soft_wrap=True)
    worker = Worker(column)
    found = []
    try:
        for entry in column.alive(Stage.LOAD):
            if each := _seen(worker, lab, entry, console):
                found.append(each)
    finally:
        worker.guest.close()
    return found


def _seen(worker: Worker, lab: Lab, entry: Module, console: Console) -> Introduction | None:
    source = lab.order.sources[entry.name]
    files = [str(path.relative_to(lab.order.tree.folder)) for path in source.sources() if path.suffix in (".c", ".S", ".rs")]
    files = [file for file in files if (lab.order.tree.origin / file).is_file()]
    if not files:
        console.print(f"! {entry.name}: its source is made by its build: it gets no entry", markup=False, soft_wrap=True)
        return None
    try:
        seen = look_at(worker.module(entry.name))
    except (AssertionError, GuestLostError, LabError) as problem:
        first = one_line(str(problem).partition("\n")[0])
        word = re.fullmatch(r"status \d+ \((.*)\) of:.*", first)
        reason = f"{word[1] if word else first}{_last_words(worker.guest)}"
        console.print(f"! {entry.name}: cannot be looked at, and gets no entry: {reason}", markup=False, soft_wrap=True)
        worker.restore()
        return None
    console.print(_summary(seen), markup=False, soft_wrap=True)
    if seen.complaint:
        worker.restore()
    return Introduction(entry, [] if files == [f"{entry.name}.c"] else files, seen)


def _last_words(guest: Guest) -> str:
    """What the kernel said last: insmod has a word for each number, and the module a reason."""
    said = guest.log.known(guest.log.latest)
    return f" (the log's last words: {one_line(said[-1].text)})" if said else ""


def _summary(seen: Seen) -> str:
    counts = {
        "files": len(seen.files),
        "lines at load": len(seen.at_load),
        "lines at unload": len(seen.at_unload),
        "parameters": len(seen.parameters),
    }
    told = f"{seen.name}: {', '.join(f'{number} {what}' for what, number in counts.items())}"
    return f"{told}\n! {seen.name}: the kernel complains: {seen.complaint}" if seen.complaint else told


def first_catalog(found: Iterable[Introduction], make: list[str], where: str) -> str:
    """A catalog of what was seen."""
    lines = [
        "---",
        f"# Written by `kmodlab init` of what it saw on {where}.",
        "# What stands here is promised, on every kernel: correct it. `kmodlab schema catalog` has all keys.",
        "schema: 1",
        *(_yaml({"make": make}) if make else []),
        "modules:",
    ]
    for each in found:
        lines.append(f"  {each.seen.name}:")
        known = each.entry.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"name", "source"})
        told: dict[str, Any] = {**({"source": each.source} if each.source else {}), **known}
        promised = {"at_load": each.seen.at_load, "at_unload": each.seen.at_unload, "paths": each.seen.files}
        told |= {key: [*value] for key, value in promised.items() if value}
        lines += [f"    {line}" for line in _yaml(told)] if told else []
        if each.seen.parameters and not each.entry.parameters:
            lines.append("    # To load it with parameters, as they are typed after insmod:")
            lines.append(f"    # parameters: {' '.join(f'{name}={value}' for name, value in each.seen.parameters.items())}")
        if not told:
            lines.append("    # It says nothing, and makes no file.")
    return "\n".join(lines) + "\n"


def _yaml(data: dict[str, Any]) -> list[str]:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000).splitlines()


HEAD = """\
\"\"\"{name}: what `kmodlab init` saw on {where}. Correct it, and add what the module is for.\"\"\"

import pytest

pytestmark = pytest.mark.module("{name}")
"""
FILES = """
FILES = {{
{rows}}}


def test_its_files_are_there(loaded, host):
    for path, kind in FILES.items():
        assert host.check_output("stat -c %%F %s", path) == kind
"""
PARAMETERS = """
PARAMETERS = {{
{rows}}}


def test_its_parameters_are_what_they_are_where_nobody_says(loaded, host):
    for name, value in PARAMETERS.items():
        assert host.check_output("cat /sys/module/{kname}/parameters/%s", name) == value
"""
NEITHER = """

def test_it_can_come_and_go_many_times(module):
    for _ in range(3):
        module.load()
        assert module.is_loaded()
        module.unload()
"""
TAIL = """

# What it does is yours to say; docs/your-module.md has what a test may ask for.
#
# def test_what_it_answers(loaded, host):
#     assert host.check_output("cat {path}") == "..."
"""


def first_test(seen: Seen, where: str) -> str:
    """First tests of a module, of what was seen."""
    text = HEAD.format(name=seen.name, where=where)
    if seen.files:
        text += FILES.format(rows=_rows(seen.files, {}))
    if seen.parameters:
        text += "\n" if seen.files else ""
        text += PARAMETERS.format(rows=_rows(seen.parameters, seen.meanings), kname=kernel_name(seen.name))
    if not seen.files and not seen.parameters:
        text += NEITHER
    device = next((path for path, kind in seen.files.items() if kind == "character special file"), "")
    return text + TAIL.format(path=device or next(iter(seen.files), "/proc/..."))


def _rows(values: Mapping[str, str], remarks: Mapping[str, str]) -> str:
    told = {name: f"  # {one_line(text)}" for name, text in remarks.items() if text}
    quoted = {name: (json.dumps(name), json.dumps(value, ensure_ascii=False)) for name, value in values.items()}
    return "".join(f"    {key}: {value},{told.get(name, '')}\n" for name, (key, value) in quoted.items())
