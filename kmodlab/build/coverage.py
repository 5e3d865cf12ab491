"""Which lines of a module's sources have run: what a kernel counted of each object, read by gcov with the compiler's notes.

Notes and counts are a stranger's: gcov reads them in the sandbox, and what it says of files that are not of the module's own tree
(kernel headers, or whatever somebody puts there) is left out. gcovr makes pages and lcov's format of the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kmodlab.build.make import Target
from kmodlab.build.modules import Part
from kmodlab.build.trees import Tree
from kmodlab.ground import process, sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, regular_files, scratch, write_aside
from kmodlab.ground.sandbox import Limits

READING = Limits(seconds=60)
"""For the counts of one module."""
WRITING = 120.0
"""Seconds for the pages of all modules."""
LARGEST = 16 << 20
"""Bytes of what gcov says of one object, unpacked."""
INSIDE = Path("/tmp/notes.tar")  # noqa: S108 - in the sandbox's own memory
GCOV = """
tar -xf "$1" && shift || exit
for data; do
    [ -f "${data%.gcda}.gcno" ] && "$0gcov" --json-format --preserve-paths --object-directory "${data%/*}" "$data"
done"""
WRONG = re.compile(r"^.*(?:not a gcov data file|stamp mismatch|assuming not executed|corrupted|overflowed).*$", re.MULTILINE)
"""What gcov says of counts that do not belong to the notes, or are none."""
FORMAT = "0.15"
"""Of gcovr's own files of counts; it reads its own only."""
MOST_TOLD = 12
"""Runs of lines that are named in one line."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    line_number: int = Field(ge=1)
    count: int = Field(ge=0)
    function_name: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")

    file: str
    lines: list[_Line]


class _Said(BaseModel):
    """What gcov says of an object, in its format 1 or 2, as far as it is needed."""

    model_config = ConfigDict(extra="ignore")

    current_working_directory: str = "/"
    files: list[_File]


Lines = dict[str, dict[int, int]]
"""How often each line of code of each source ran; sources by their paths in the tree."""


def count(built: Target, notes: Path, counts: Mapping[str, bytes], part: Part, tree: Path) -> Lines:
    """What `counts` (guest.gcov.counts) says of the sources of a module of `part` that has these notes; `tree` has them all.

    LabError where nothing can be said of it.
    """
    with scratch("coverage") as work:
        for path, data in counts.items():
            parts = PurePosixPath(path).parts
            if parts[:1] == sandbox.WORK.parts[1:] and ".." not in parts and path.endswith(".gcda"):
                _put(work.joinpath(*parts[1:]), data)
        names = [f"./{path.relative_to(work)}" for path in regular_files(work, "*.gcda")]
        command = ["sh", "-c", f"cd {sandbox.WORK}{GCOV}", built.cross, str(INSIDE), *names]
        answer = sandbox.run(built.root, command, work=work, read_only={notes: INSIDE}, limits=READING)
        found: Lines = {}
        for said in regular_files(work, "*.gcov.json.gz"):
            _add(found, _read(said), part.root, tree)
    if WRONG.search(answer.log):  # gcov takes such for nothing that has run
        raise LabError(f"no line was counted: {WRONG.findall(answer.log)[0]}")
    if not found:
        raise LabError(f"no line was counted: {answer.last_word}")
    return found


def _put(place: Path, data: bytes) -> None:
    """Write what a guest says that it has. LabError where a file cannot be called so."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    except (OSError, ValueError) as problem:
        raise LabError(f"no line was counted: what the guest calls its counts cannot be: {problem}") from problem


def _read(path: Path) -> _Said:
    unpacking = zlib.decompressobj(wbits=31)  # gzip's format
    try:
        text = unpacking.decompress(read_regular(path, LARGEST), LARGEST)
        return _Said.model_validate_json(text)
    except (zlib.error, ValidationError) as problem:
        raise LabError(f"what gcov said cannot be read: {str(problem).splitlines()[0]}") from problem


def _add(found: Lines, said: _Said, root: Path, tree: Path) -> None:
    for each in said.files:
        place = os.path.normpath(os.path.join(said.current_working_directory, each.file))  # noqa: PTH118 - nobody's real path
        path = PurePosixPath(place)
        if not path.is_relative_to(sandbox.WORK):
            continue
        source = root / path.relative_to(sandbox.WORK)
        # One that was made, or is none of the tree's, whatever links lead there.
        if source.is_symlink() or not source.is_file() or not source.resolve().is_relative_to(tree.resolve()):
            continue
        lines = found.setdefault(str(source.relative_to(tree)), {})
        for line in each.lines:  # an inline function's may come more than once
            lines[line.line_number] = max(lines.get(line.line_number, 0), line.count)


def in_words(lines: Lines) -> str:
    """One line: "45 of 50; not chardev.c:87-89, 101"."""
    every = [ran for each in lines.values() for ran in each.values()]
    missed = [f"{name}:{run}" for name, each in sorted(lines.items()) for run in _runs(each)]
    told = ", ".join(missed[:MOST_TOLD]) + (f" and {len(missed) - MOST_TOLD} more" if len(missed) > MOST_TOLD else "")
    return f"{sum(ran > 0 for ran in every)} of {len(every)}" + (f"; not {told}" if missed else "")


def _runs(lines: Mapping[int, int]) -> Iterable[str]:
    """Lines of code that did not run, those without code between as if they had been one: "87-89"."""
    begin = end = 0
    for number, ran in sorted(lines.items()):
        if ran:
            if begin:
                yield f"{begin}-{end}" if begin < end else str(begin)
            begin = 0
        else:
            begin, end = begin or number, number
    if begin:
        yield f"{begin}-{end}" if begin < end else str(begin)


def keep(lines: Lines, tree: Path, path: Path) -> None:
    """Write them, and what the file has already, in the format of gcovr's own files of counts; `tree` has the sources."""
    files = []
    for name, each in sorted(_sum(kept(path), lines).items()):
        texts = (tree / name).read_bytes().split(b"\n")
        known = [(number, ran, texts[number - 1]) for number, ran in sorted(each.items()) if number <= len(texts)]
        marked = [{"line_number": number, "count": ran, "branches": [], "gcovr/md5": _md5(text)} for number, ran, text in known]
        files.append({"file": name, "lines": marked, "functions": []})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, json.dumps({"gcovr/format_version": FORMAT, "files": files}))


def kept(path: Path) -> Lines:
    """What such a file has; nothing where there is none."""
    if not path.exists():
        return {}
    files = json.loads(path.read_text())["files"]
    return {each["file"]: {line["line_number"]: line["count"] for line in each["lines"]} for each in files}


def _sum(some: Lines, more: Lines) -> Lines:
    names = some.keys() | more.keys()
    both = {name: (some.get(name, {}), more.get(name, {})) for name in names}
    return {name: {n: a.get(n, 0) + b.get(n, 0) for n in a.keys() | b.keys()} for name, (a, b) in both.items()}


def _md5(line: bytes) -> str:
    return hashlib.md5(line, usedforsecurity=False).hexdigest()


def pages(folder: Path, tree: Tree) -> None:
    """Make of the counts of several modules, FOLDER/MODULE.json, pages for a person (index.html) and lcov.info. LabError."""
    lcov = folder / "lcov.info"
    command = [
        *(sys.executable, "-m", "gcovr", "--root", str(tree.folder), "--json-add-tracefile", f"{folder}/*.json"),
        *("--html-details", f"{folder}/index.html", "--html-theme", "github.blue", "--lcov", str(lcov)),
    ]
    answer = process.run(command, seconds=WRITING)
    if answer.status:
        raise LabError(f"gcovr made no pages of the lines that ran: {answer.last_word}")
    # Sources by the places where their author has them.
    lcov.write_text(re.sub("^SF:(.*)$", lambda found: f"SF:{tree.named(Path(found[1]))}", lcov.read_text(), flags=re.MULTILINE))
