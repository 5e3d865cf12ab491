"""The modules of a tree: which of its folders are built as one, and what comes out of them.

A folder whose own rules say all of it (`obj-m := x.o`) is asked, which costs a thirtieth of a second and no kernel. What a larger
tree builds is what comes out of its build for one kernel: its Makefiles decide that with what they find, call, include and
generate, and no question to one of them tells. That build is kept, so it costs a run nothing that it would not do anyway. Names
that rules gave and that a build which failed did not make stay: each is a cell that says why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from kmodlab.build import trees
from kmodlab.build.trees import FIT, Tree
from kmodlab.ground import sandbox
from kmodlab.ground.cache import digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, scratch
from kmodlab.ground.sandbox import Answer, Limits
from kmodlab.plan.assignment import FILE as ASSIGNMENT
from kmodlab.results.contract import Name

READING = Limits(seconds=30, output=sandbox.MIB)
"""For reading a Makefile; some run programs to find out where they are."""
QUESTION = """\
src := {folder}
obj := {folder}
srctree := /nowhere
KERNELRELEASE := kmodlab
CONFIG_MODULES := y
CONFIG_X86 := y
CONFIG_X86_64 := y
CONFIG_ARM := y
CONFIG_ARM64 := y
{asked_for}
include {folder}/{rules}
.PHONY: kmodlab-answer
kmodlab-answer: ;
$(foreach object,$(filter %.o,$(obj-m)),$(file >>{answer},$(object) $($(object:.o=-objs)) $($(object:.o=-y))))
"""
"""The Makefile is asked as kbuild asks it, for every architecture at once: which one builds what is the build's business. What it
answers goes to a file, so that nothing that is printed meanwhile gets into it.
"""
LARGEST = 1 << 20
"""Bytes of its answer."""
SOURCES = Path("/srv")
"""Where a tree is when its rules are read."""
RULES = ("Kbuild", "Makefile", "makefile", "GNUmakefile")
"""What make or kbuild reads in a folder."""
DKMS = "dkms.conf"
MENTIONS_MODULES = re.compile(r"obj-|\bM=|\bSUBDIRS=|/lib/modules|\binclude\b|\$\(MAKE\)|\bmake\b")
"""Rules without any of this are a user program's."""
UNFIT = re.compile(r"[\s:#$%'\"\\]")
"""No make can build in a folder with such a name: it is the sandbox's own, where nobody sees the name, or nothing."""
DOTTED = " (a dot is between a folder's name and a module's)"
MOST_RULES = 500
"""Folders with rules that are asked in one tree."""
READ = re.compile(r"^(Kbuild|[Mm]akefile.*|GNUmakefile|dkms\.conf|.*\.(c|h|S|rs|mk|sh|inc))$")
"""Files in which a path may lead to a folder beside."""


class Part(BaseModel):
    """What is built as one: a tree, or one of several folders in it that have nothing above them that would build them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Path
    """All that its build sees: the tree's copy, or the part's own folder in it where nothing in that leads out of it."""
    top: str = "."
    """Its folder from there, in which its author would type `make`."""
    rules: tuple[str, ...] = (".",)
    """The folders from its top whose rules name modules."""
    plain: bool = True
    """Whether its rules have said all that it builds."""
    dkms: bool = False
    """Whether it is built as its dkms.conf says."""
    make: tuple[str, ...] = ()
    """What the catalog has make told: ("CONFIG_FOO=m",)."""

    @property
    def folder(self) -> Path:
        return self.root / self.top

    def key(self) -> str:
        """The content key of everything of the user's that its build may read."""
        return digest(self.model_dump_json(exclude={"root"}), trees.content(self.root))


class SourceModule(BaseModel):
    """One module of a tree."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    """What its cell is called: as its file is, hello-1; where several are called so, with its folder: alice.hello-1."""
    part: Part
    path: str
    """Of its .ko from its part's top, without suffix: core/hello-1."""
    objects: tuple[str, ...]
    """What it is linked from, likewise: ("core/start", "core/stop"); its own path where it is one file."""
    problem: str = ""
    """Why it cannot be built at all, in one line; empty where nothing is known against it."""

    @property
    def folder(self) -> Path:
        """In the copy of the sources."""
        return self.part.folder

    @property
    def file(self) -> str:
        """As its file is called, without suffix: hello-1."""
        return PurePosixPath(self.path).name

    def sources(self) -> list[Path]:
        """Its own source files, and those they include by a quoted name, as far as they are in its part."""
        waiting = [self.folder / f"{name}{suffix}" for name in self.objects for suffix in (".c", ".S", ".rs")]
        found: dict[Path, None] = {}
        while waiting:
            path = waiting.pop(0).resolve()
            if path in found or not path.is_relative_to(self.part.root) or not path.is_file():
                continue
            found[path] = None
            text = _text(path)
            waiting += [path.parent / name for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE)]
        return list(found)

    def key(self) -> str:
        """The content key of everything of the user's that its build may read."""
        return digest(self.path, " ".join(self.objects), self.part.key())


@dataclass(frozen=True)
class Explored:
    """What came out of a part's build."""

    modules: list[SourceModule]
    """What was made, and what broke the build by name."""
    clean: bool
    """Whether all of the build went well, but for those."""
    word: str = ""
    """What the build said last where it did not."""


Explore = Callable[[Part, Sequence[SourceModule]], Explored]
"""Builds a part, whose rules have said that it has these modules, for one kernel."""


def discover(tree: Tree, explore: Explore | None = None, make: Sequence[str] = ()) -> list[SourceModule]:
    """The modules of a tree, in its folders' and Makefiles' order; without `explore`, as far as questions tell.

    A part that cannot be read or built costs itself only: it is a module that cannot be built. Raises LabError where there is no
    module at all.
    """
    modules: list[SourceModule] = []
    problems: list[str] = []
    for top in _tops(tree.folder):
        found = _of_part(tree, _part(tree, top, tuple(make)), explore, problems)
        modules += found
    if len(modules) == 1 and modules[0].problem and not modules[0].objects:
        raise LabError(f"MODULES: {modules[0].problem}")  # nothing can run
    if not modules:
        refused = tree.refusal(tree.folder)
        expected = "expected a Makefile or Kbuild with `obj-m += name.o`, or a dkms.conf, there or in folders below"
        why = refused or (problems[0] if problems else "")
        raise LabError(f"MODULES: {tree.origin} holds no module: {expected}{f' ({why})' if why else ''}")
    return _distinct(tree, modules)


def rules_file(folder: Path) -> str:
    """What kbuild reads in a folder: Kbuild, else Makefile."""
    return "Kbuild" if (folder / "Kbuild").is_file() else "Makefile"


def _tops(folder: Path, *, below: bool = False) -> Iterator[Path]:
    """The topmost folders with rules."""
    if not below and any((folder / name).is_file() for name in (*RULES, DKMS)):
        yield folder
        return
    for place in _folders(folder):
        yield from _tops(place)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _part(tree: Tree, top: Path, make: tuple[str, ...]) -> Part:
    """A folder as a part. It sees the whole tree where anything in it leads out of it, and else only itself."""
    unfit = UNFIT.search(str(top.relative_to(tree.folder)))
    root = tree.folder if top == tree.folder or (_leads_out(top) and not unfit) else top
    places = list(islice(_places(top), MOST_RULES))
    named = (place for place in places if any("obj-" in _text(place / name) for name in ("Kbuild", "Makefile")))
    rules = tuple(sorted(str(place.relative_to(top)) for place in named))
    return Part(root=root, top=str(top.relative_to(root)), rules=rules, make=make, dkms=(top / DKMS).is_file())


def _places(top: Path) -> Iterator[Path]:
    """A folder and those below it, but for assignments: each of them is a project of its own."""
    for place, folders, _ in os.walk(top):
        yield Path(place)
        folders[:] = [name for name in folders if not (Path(place) / name / ASSIGNMENT).is_file()]


def _leads_out(top: Path) -> bool:
    for place, _, names in os.walk(top):
        for path in (Path(place) / name for name in names):
            if path.is_symlink():
                if ".." in path.readlink().parts:
                    return True
            elif READ.match(path.name) and (".." in (text := _text(path)) and re.search(r"\.\./|/\.\.|=\s*\.\.\s", text)):
                return True
    return False


def _of_part(tree: Tree, part: Part, explore: Explore | None, problems: list[str]) -> list[SourceModule]:
    """The modules of one part. What is wrong with it is said by one that stands for all of it."""
    refusal = tree.refusal(part.folder)
    asked: list[SourceModule] = []
    unread = ""
    for place in part.rules:
        try:
            asked += _asked(tree, part, place)
        except LabError as problem:
            unread = unread or str(problem).removeprefix("MODULES: ")
    if not part.rules:  # they may include what names modules
        try:
            asked += _asked(tree, part, ".")
            part = part.model_copy(update={"rules": (".",)} if asked else {})
            asked = [module.model_copy(update={"part": part}) for module in asked]
        except LabError as problem:
            problems.append(str(problem).removeprefix("MODULES: "))
    if part.dkms:
        try:
            if explore and (modules := explore(part, asked).modules):
                return modules
        except LabError as problem:
            problems.append(str(problem).removeprefix("MODULES: "))
        part = part.model_copy(update={"dkms": False})
        asked = [module.model_copy(update={"part": part}) for module in asked]
    if part.rules == (".",) and not unread and asked:
        return [module.model_copy(update={"problem": refusal or module.problem}) for module in asked]
    if not part.rules and not any(MENTIONS_MODULES.search(_text(part.folder / name)) for name in RULES):
        return []
    if refusal:
        return [_stand_in(part, refusal)] if part.rules else []
    part = part.model_copy(update={"plain": False})
    asked = [module.model_copy(update={"part": part}) for module in asked]
    if explore:
        return _explored(tree, part, asked, explore, problems, unread)
    if unread and not asked:
        return [_stand_in(part, unread)]
    return asked


def _explored(
    tree: Tree, part: Part, asked: list[SourceModule], explore: Explore, problems: list[str], unread: str
) -> list[SourceModule]:
    """The modules that come out of a part's build; where its top does not build them all, out of those of its folders."""
    found = explore(part, asked)
    modules = {module.path: module for module in found.modules}
    if found.clean and modules:
        return list(modules.values())
    rest = [module for module in asked if module.path not in modules]
    mine = [module for module in rest if "/" not in module.path]
    for place in _tops(part.folder, below=True):
        prefix = str(place.relative_to(part.folder))
        theirs = [module for module in rest if PurePosixPath(module.path).is_relative_to(prefix)]
        if not theirs and modules:
            continue
        own = _part(tree, place, part.make)
        for module in _of_part(tree, own, explore, problems):
            path = f"{prefix}/{module.path}"
            if path not in modules:
                modules[path] = module
    for module in mine:
        modules.setdefault(module.path, module)
    if not modules:
        problems.append(found.word or unread)
        return [_stand_in(part, found.word or unread)] if part.rules and (unread or found.word) else []
    return list(modules.values())


def _stand_in(part: Part, problem: str) -> SourceModule:
    """What stands for a part of which no module is known."""
    name = _fit(part.folder.name if part.top != "." or part.root.name else "") or "folder"
    return SourceModule(name=name, part=part, path=name, objects=(), problem=problem)


def _fit(text: str) -> str:
    """A folder's name as a part of a cell's."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", text).lstrip("._+-")[:80]


def _distinct(tree: Tree, modules: list[SourceModule]) -> list[SourceModule]:
    """Modules with names that tell them apart: those that share one get their folders' in front."""
    often: dict[str, int] = {}
    for module in modules:
        often[module.name] = often.get(module.name, 0) + 1
    names: dict[str, int] = {}
    found = []
    for module in modules:
        name = module.name
        if often[name] > 1:
            place = (module.folder / module.path).parent.relative_to(tree.folder)
            name = ".".join(filter(None, (*(_fit(word) for word in place.parts), name)))[-100:].lstrip("._+-")
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:  # what is after the last dot is what the kernel knows
            name = f"{name.removesuffix(f'.{module.name}')}+{names[name]}.{module.name}"
        found.append(module if name == module.name else module.model_copy(update={"name": name}))
    return found


def _asked(tree: Tree, part: Part, place: str) -> list[SourceModule]:
    """The modules that the rules in one of a part's folders name."""
    folder = part.folder / place
    rules = tree.named(folder / rules_file(folder))
    modules = []
    for target, parts in _ask(part.root, folder, rules, part.make):
        objects = tuple(_from_top(place, each) for each in parts) or (_from_top(place, target),)
        modules.append(module_of(part, _from_top(place, target), objects, f"{rules}: obj-m names '{target}'"))
    return modules


def module_of(part: Part, path: str, objects: Iterable[str], where: str) -> SourceModule:
    """A module by the path of its .ko; one whose name is none stands for itself, and cannot be built."""
    name = PurePosixPath(path).name
    if FIT.match(name):
        return SourceModule(name=name, part=part, path=path, objects=tuple(objects))
    letters = f"letters, digits, _, - and + only{DOTTED if '.' in name else ''}"
    mend = f"rename it: {letters}" if name else "is a variable in obj-m unset?"
    problem = f"{where}, which is no module's name here: {mend}"
    return SourceModule(name=_fit(name.replace(".", "-")) or "module", part=part, path=path, objects=(), problem=problem)


def _from_top(place: str, target: str) -> str:
    """A target of rules in a folder, from the part's top and without suffix: ("core", "x.o") is core/x."""
    path = os.path.normpath(f"{place}/{target}").removesuffix(".o")
    return f"{PurePosixPath(place) / target}".removesuffix(".o") if target.endswith("/.o") or target == ".o" else path


def _ask(root: Path, folder: Path, rules: Path, make: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What a folder's rules build: object and parts."""
    answer, lines = _answer(root, folder, rules.name, make, "")
    if answer.status and not answer.overrun and (symbols := _conditions(folder / rules.name)):
        answer, lines = _answer(root, folder, rules.name, make, "\n".join(f"{symbol} := m" for symbol in symbols))
    if answer.status:
        stopped = next((line for line in answer.output.splitlines() if "***" in line), "")
        raise LabError(f"MODULES: {rules} cannot be read by make: {answer.overrun or stopped or answer.last_word}")
    for line in lines:
        target, *parts = line.split()
        yield target, parts


def _text(path: Path) -> str:
    """The beginning of a stranger's file, which may be of any size: more of it is not worth looking for words in."""
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(LARGEST).decode(errors="replace")


def _conditions(rules: Path) -> list[str]:
    """The options of the kernel that rules ask for, beside those that they name a module by: some stop where one is not set."""
    text = _text(rules)
    return sorted(set(re.findall(r"\bCONFIG_\w+", text)) - set(re.findall(r"obj-\$\((CONFIG_\w+)\)", text)))


def _answer(root: Path, folder: Path, rules: str, make: Sequence[str], asked_for: str) -> tuple[Answer, list[str]]:
    inside = SOURCES / folder.relative_to(root)
    question = QUESTION.format(folder=inside, rules=rules, answer=sandbox.WORK / "answer", asked_for=asked_for)
    command = ["make", "-rR", "--no-print-directory", "-f", "-", *make, "kmodlab-answer"]
    with scratch("question") as work:
        answer = sandbox.run(None, command, work=work, read_only={root: SOURCES}, stdin=question, limits=READING)
        told = work / "answer"
        return answer, read_regular(told, LARGEST).decode(errors="replace").splitlines() if told.exists() else []
