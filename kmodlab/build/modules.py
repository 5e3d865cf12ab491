"""The modules of a folder, as its own Makefile names them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from kmodlab.build import trees
from kmodlab.build.trees import Tree
from kmodlab.ground import sandbox
from kmodlab.ground.cache import digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, scratch
from kmodlab.ground.sandbox import Answer, Limits
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
"""Where a folder's sources are when its rules are read."""


class SourceModule(BaseModel):
    """One module of a folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    """As its file is called: hello-1."""
    folder: Path
    """Of its Makefile, in the copy of the sources."""
    objects: tuple[str, ...]
    """What it is linked from, without suffix: ("start", "stop"); its own name where it is one file."""
    problem: str = ""
    """Why it cannot be built at all, in one line; empty where nothing is known against it."""

    @property
    def kname(self) -> str:
        """As the kernel calls it: hello_1."""
        return self.name.replace("-", "_")

    def sources(self) -> list[Path]:
        """Its own source files, and those they include by a quoted name, as far as they are in its folder."""
        waiting = [self.folder / f"{name}{suffix}" for name in self.objects for suffix in (".c", ".S", ".rs")]
        found: dict[Path, None] = {}
        while waiting:
            path = waiting.pop(0).resolve()
            if path in found or not path.is_relative_to(self.folder) or not path.is_file():
                continue
            found[path] = None
            text = _text(path)
            waiting += [path.parent / name for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE)]
        return list(found)

    def key(self) -> str:
        """The content key of everything of the user's that its build may read: all of its folder."""
        return digest(self.name, " ".join(self.objects), trees.content(self.folder))


def rules_file(folder: Path) -> str:
    """What kbuild reads in a folder: Kbuild, else Makefile."""
    return "Kbuild" if (folder / "Kbuild").is_file() else "Makefile"


def discover(tree: Tree) -> list[SourceModule]:
    """The modules of a flat folder, or of a folder with one folder a module, in the Makefiles' order.

    A folder of several that cannot be read costs itself only: it is a module that cannot be built. Raises LabError where there is
    no module at all.
    """
    if _has_rules(tree.folder) and (found := _of_folder(tree, tree.folder)):
        return found
    modules: dict[str, SourceModule] = {}
    for place in sorted(path for path in tree.folder.iterdir() if path.is_dir() and not path.is_symlink()):
        for module in _of_some_folder(tree, place):
            if module.name in modules:
                before, now = (tree.named(each.folder) for each in (modules[module.name], module))
                raise LabError(f"MODULES: module {module.name} is in {before} and in {now}; rename one")
            modules[module.name] = module
    if not modules:
        refused = tree.refusal(tree.folder)
        expected = "expected a Makefile or Kbuild with `obj-m += name.o`, there or one folder down"
        raise LabError(f"MODULES: {tree.origin} holds no module: {expected}{f' ({refused})' if refused else ''}")
    return list(modules.values())


def _has_rules(folder: Path) -> bool:
    return (folder / rules_file(folder)).is_file()


def _of_some_folder(tree: Tree, folder: Path) -> list[SourceModule]:
    """The modules of one folder of several. What is wrong with it is said by one that stands for all of it."""
    if not _has_rules(folder):
        return []
    try:
        return _of_folder(tree, folder)
    except LabError as problem:
        if "obj-" not in _text(folder / rules_file(folder)):
            return []  # a program's
        name = re.sub(r"[^A-Za-z0-9._+-]", "-", folder.name).lstrip("._+-") or "folder"
        return [SourceModule(name=name, folder=folder, objects=(), problem=str(problem).removeprefix("MODULES: "))]


def _of_folder(tree: Tree, folder: Path) -> list[SourceModule]:
    rules = tree.named(folder / rules_file(folder))
    refusal = tree.refusal(folder)
    modules = []
    for target, parts in _ask(folder, rules):
        name = PurePosixPath(target).name.removesuffix(".o")
        try:
            TypeAdapter(Name).validate_python(name)
        except ValidationError as problem:
            mend = "rename it" if name else "is a variable in obj-m unset?"
            raise LabError(f"MODULES: {rules}: obj-m names '{target}', which is no module's name: {mend}") from problem
        objects = tuple(part.removesuffix(".o") for part in parts) or (target.removesuffix(".o"),)
        modules.append(SourceModule(name=name, folder=folder, objects=objects, problem=refusal))
    return modules


def _ask(folder: Path, rules: Path) -> Iterator[tuple[str, list[str]]]:
    """What a folder's rules build: object and parts."""
    answer, lines = _answer(folder, rules.name, "")
    if answer.status and not answer.overrun and (symbols := _conditions(folder / rules.name)):
        answer, lines = _answer(folder, rules.name, "\n".join(f"{symbol} := m" for symbol in symbols))
    if answer.status:
        stopped = next((line for line in answer.output.splitlines() if "***" in line), "")
        raise LabError(f"MODULES: {rules} cannot be read by make: {answer.overrun or stopped or answer.last_word}")
    for line in lines:
        target, *parts = line.split()
        yield target, parts


def _text(path: Path) -> str:
    """The beginning of a stranger's file, which may be of any size: more of it is not worth looking for words in."""
    with path.open("rb") as file:
        return file.read(LARGEST).decode(errors="replace")


def _conditions(rules: Path) -> list[str]:
    """The options of the kernel that rules ask for, beside those that they name a module by: some stop where one is not set."""
    text = _text(rules)
    return sorted(set(re.findall(r"\bCONFIG_\w+", text)) - set(re.findall(r"obj-\$\((CONFIG_\w+)\)", text)))


def _answer(folder: Path, rules: str, asked_for: str) -> tuple[Answer, list[str]]:
    question = QUESTION.format(folder=SOURCES, rules=rules, answer=sandbox.WORK / "answer", asked_for=asked_for)
    command = ["make", "-rR", "--no-print-directory", "-f", "-", "kmodlab-answer"]
    with scratch("question") as work:
        answer = sandbox.run(None, command, work=work, read_only={folder: SOURCES}, stdin=question, limits=READING)
        told = work / "answer"
        return answer, read_regular(told, LARGEST).decode(errors="replace").splitlines() if told.exists() else []
