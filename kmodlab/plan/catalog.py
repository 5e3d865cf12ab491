"""The catalog: what each module of a folder promises. `catalog.yml` beside the sources, or none.

A module without an entry makes the generic promises only: it builds, loads, unloads and leaves no trace.
The keys are described once, at the fields of `Module`; `Catalog.model_json_schema()` gives them to an editor.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular
from kmodlab.plan.kernels import Arch
from kmodlab.results.contract import Name, Stage, one_line
from kmodlab.results.folder import Expected

FILE = "catalog.yml"
LARGEST = 1 << 20
"""Bytes of a catalog."""
OURS = ("M", "O", "MAKEFLAGS", "MFLAGS", "KBUILD_EXTMOD", "ARCH", "CROSS_COMPILE")
"""What no catalog tells make."""


def line_of(version: str) -> tuple[int, int]:
    """A kernel line or release as two numbers that compare: "5.10" and "5.10.0-33-amd64" are (5, 10).

    ValueError where it does not begin with two numbers.
    """
    found = re.match(r"(\d+)\.(\d+)(?!\d)", version)
    if not found:
        raise ValueError(f"'{version}' is no kernel version")
    return int(found[1]), int(found[2])


def _quoted(value: object) -> object:
    if isinstance(value, float):
        raise ValueError(f"a kernel line belongs in quotes: without them 5.10 is the number 5.1 (got {value})")
    return value


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as problem:
        raise ValueError(f"no regular expression: {problem} in '{text}'") from problem
    return text


def _below(path: str) -> str:
    if ".." in PurePosixPath(path).parts:
        raise ValueError(f"'{path}' leads out of the catalog's folder")
    return path


def _not_ours(setting: str) -> str:
    if setting.partition("=")[0] in OURS:
        raise ValueError(f"'{setting}' says where or how make builds, which is the lab's business; drop it")
    return setting


Line = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$"), BeforeValidator(_quoted)]
Pattern = Annotated[str, StringConstraints(min_length=1), AfterValidator(_regular_expression)]
Reason = Annotated[str, StringConstraints(min_length=1)]
SourcePath = Annotated[str, StringConstraints(pattern=r"^[^/]"), AfterValidator(_below)]
"""From the catalog's folder."""
Setting = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*=.*$"), AfterValidator(_not_ours)]
"""A variable for make: CONFIG_FOO=m."""
TargetPath = Annotated[str, StringConstraints(pattern=r"^/")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True, use_attribute_docstrings=True)


class _Lines(_Entry):
    """A range of kernel lines, both ends included; an end that is not given is open."""

    first: Line | None = Field(default=None, alias="from")
    last: Line | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> _Lines:
        if self.first and self.last and line_of(self.first) > line_of(self.last):
            raise ValueError(f"from {self.first} is after to {self.last}")
        return self

    def holds(self, version: str) -> bool:
        """Whether a kernel line or release lies in the range."""
        line = line_of(version)
        after = self.first is None or line_of(self.first) <= line
        return after and (self.last is None or line <= line_of(self.last))


class Kernels(_Lines):
    """The kernels that a module is for; on others its cells are skipped with the reason."""

    reason: Reason


class Expectation(_Lines):
    """A failure that is known, where and why. What then passes is reported, too."""

    arches: list[Arch] | None = None
    verdict: Literal["fail"] = "fail"
    stage: Stage
    reason: Reason
    matches: Pattern | None = None
    """What the failure's reason must match, as a regular expression. A fault that the kernel reports is never expected without.
    """


class Module(_Entry):
    """One module and its promises."""

    name: Name
    chapter: str = ""
    """The section of the book that it belongs to."""
    idea: str = ""
    source: list[SourcePath] = []
    """From the catalog's folder. A single file may be a plain string; NAME.c where nothing is said."""
    parameters: str = ""
    """What the life-cycle test loads it with, as after `insmod NAME.ko`. A host that offers `gpio` fills in $gpio_chip, the
    label of its chip, and the lines $gpio_button_up, $gpio_button_down and $gpio_led."""
    at_load: list[Pattern] = []
    """Promised log lines, each searched in the text of one record."""
    at_unload: list[Pattern] = []
    any_order: bool = False
    paths: list[TargetPath] = []
    """Exist on the target while it is loaded, and are gone after."""
    needs: list[Name] = []
    """Modules of this catalog to load first."""
    kernel_modules: list[str] = []
    """In-tree modules to load first."""
    programs: list[SourcePath] = []
    """User programs' sources, built and deployed beside the module."""
    arches: list[Arch] = Field(default=["x86_64", "arm64", "armhf", "um"], min_length=1)
    kernels: Kernels | None = None
    hardware: list[str] = []
    """What a host must offer."""
    limit: float = Field(default=30, gt=0)
    """Seconds that loading or unloading may take."""
    one_cpu: Reason | None = None
    """Why a stress test must load it on one processor only, where it must."""
    expect: list[Expectation] = []

    @field_validator("parameters")
    @classmethod
    def _typed(cls, value: str) -> str:
        shlex.split(value)  # its ValueError says what is not closed
        return value

    @field_validator("source", mode="before")
    @classmethod
    def _one_source(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    def skip_reason(self, version: str, arch: str, offers: set[str]) -> str | None:
        """Why it cannot run on that kernel line and architecture on a host that offers these; else None.

        What it needs may not run there either: `skips` looks at a whole set of modules.
        """
        if arch not in self.arches:
            return f"not for {arch}: the catalog says {', '.join(self.arches)} only"
        if self.kernels and not self.kernels.holds(version):
            return self.kernels.reason
        if missing := [thing for thing in self.hardware if thing not in offers]:
            return f"needs {', '.join(missing)}, which this host does not offer"
        return None

    def expectation(self, version: str, arch: str) -> Expected | None:
        """The failure that the catalog declares for that kernel: the first entry that matches, else None."""
        for entry in self.expect:
            if entry.holds(version) and (entry.arches is None or arch in entry.arches):
                return Expected(stage=entry.stage, reason=entry.reason, matches=entry.matches or "")
        return None


class Catalog(_Entry):
    """A folder's `catalog.yml`; without a file, one without entries."""

    schema_version: Literal[1] = Field(alias="schema")
    make: list[Setting] = []
    """What make is told beside the kernel when the tree is built: `CONFIG_FOO=m DEBUG=1`, or a list of such words."""
    modules: dict[Name, Module] = {}

    @field_validator("make", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return shlex.split(value) if isinstance(value, str) else value

    @field_validator("modules", mode="before")
    @classmethod
    def _name_entries(cls, value: object) -> object:
        """Give each entry its key as name; an entry of nothing but its name is a mapping without keys."""
        if not isinstance(value, dict):
            return value
        return {key: _named(key, {} if entry is None else entry) for key, entry in value.items()}

    def for_modules(self, names: Iterable[str], folder: Path) -> list[Module]:
        """Entries for the modules that `folder`'s Makefile builds: needs first, else the catalog's order.

        A module without an entry gets the default promises. LabError for an entry that nothing builds.
        """
        built = list(dict.fromkeys(names))
        for name in self.modules:
            if name not in built:
                hint = _near(name, built)
                raise LabError(f"{folder / FILE}: modules.{name}: no Makefile builds it{hint}", hint="add it to obj-m")
        undeclared = (_undeclared(name, folder) for name in built if name not in self.modules)
        return _needs_first([*self.modules.values(), *undeclared])


def with_needs(chosen: Iterable[str], modules: Iterable[Module]) -> list[Module]:
    """The chosen modules (as ONLY names them) and all that they need, in the order of `modules`.

    LabError for a name that is none of them.
    """
    known = {module.name: module for module in modules}
    wanted: set[str] = set()
    names = list(chosen)
    while names:
        name = names.pop()
        if name not in known:
            raise LabError(f"ONLY: no module '{name}'{_near(name, known)}", hint=f"there are: {' '.join(known)}")
        if name not in wanted:
            wanted.add(name)
            names.extend(known[name].needs)
    return [module for module in known.values() if module.name in wanted]


def skips(modules: Iterable[Module], version: str, arch: str, offers: set[str]) -> dict[str, str]:
    """Reasons, by name, of the modules that cannot run there: of themselves, or for what they need.

    `modules` as `for_modules` and `with_needs` give them: needs first.
    """
    reasons: dict[str, str] = {}
    for module in modules:
        lacking = next((need for need in module.needs if need in reasons), None)
        if reason := module.skip_reason(version, arch, offers):
            reasons[module.name] = reason
        elif lacking:
            reasons[module.name] = f"needs {lacking}: {reasons[lacking]}"
    return reasons


def load_catalog(folder: Path, origin: Path | None = None) -> Catalog:
    """Read `folder`/catalog.yml; an empty catalog where there is none. LabError for its first fault.

    `origin` is what a person calls the folder, where that is a copy.
    """
    if not folder.is_dir():
        raise LabError(f"{folder} is no folder", hint="MODULES names a folder of kernel modules with a Makefile")
    path = (origin or folder) / FILE
    if not (folder / FILE).exists():
        return Catalog(schema_version=1)
    try:
        text = read_regular(folder / FILE, LARGEST).decode()
    except (LabError, UnicodeDecodeError) as problem:
        raise LabError(f"{path}: cannot be read: {one_line(str(problem))}") from problem
    catalog = _validated(path, parsed(path, text))
    modules = {name: _with_source(module, folder) for name, module in catalog.modules.items()}
    _check_files(path, folder, modules)
    _check_needs(path, modules)
    return catalog.model_copy(update={"modules": modules})


def merged(catalogs: Mapping[str, Catalog]) -> Catalog:
    """The catalogs of a project's folders as one of the folder that they are in; a name that several have gets its folder's in
    front, as its cell does.
    """
    often = Counter(name for catalog in catalogs.values() for name in catalog.modules)

    def called(folder: str, name: str) -> str:
        return f"{folder}.{name}" if often[name] > 1 else name

    modules = {
        called(folder, name): entry.model_copy(
            update={
                "name": called(folder, name),
                "needs": [called(folder, need) for need in entry.needs],
                "source": [f"{folder}/{path}" for path in entry.source],
                "programs": [f"{folder}/{path}" for path in entry.programs],
            }
        )
        for folder, catalog in catalogs.items()
        for name, entry in catalog.modules.items()
    }
    make = dict.fromkeys(word for catalog in catalogs.values() for word in catalog.make)
    return Catalog(schema_version=1, make=list(make)).model_copy(update={"modules": modules})


class _Loader(yaml.SafeLoader):
    """YAML without keys that are there twice: the second would silently drop the first one's promises. And without aliases: few
    lines of them make gigabytes, and a catalog has no use for any.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.get_mark()
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not read: write it out", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key '{key.value}' is there twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


def parsed(path: Path, text: str) -> object:
    """A file's YAML, of which `path` is the name in errors. LabError where it is none, has a key twice, or aliases."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except RecursionError as problem:
        raise LabError(f"{path}: not valid YAML: nested too deeply", hint="write it flat") from problem
    except yaml.MarkedYAMLError as problem:
        line = f"line {problem.problem_mark.line + 1}: " if problem.problem_mark else ""
        raise LabError(f"{path}: {line}not valid YAML: {problem.problem}", hint="mend that line") from problem
    except yaml.YAMLError as problem:
        raise LabError(f"{path}: not valid YAML: {one_line(str(problem))}") from problem


def _validated(path: Path, tree: object) -> Catalog:
    try:  # through JSON, which strict models take lists and mappings from
        return Catalog.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise LabError(f"{path}: {where}: {_expected(first['type'], first['loc'], first['msg'], first['input'])}") from problem


def _expected(kind: str, loc: tuple[int | str, ...], message: str, found: object) -> str:
    """What a person must know to mend one of pydantic's errors."""
    if kind == "extra_forbidden":
        known = _keys_at(loc)
        return f"unknown key{_near(str(loc[-1]), known)}; known here: {' '.join(known)}"
    if kind == "missing":
        return "is missing; add it"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    message = message.removeprefix("Input ")
    return one_line(f"{message[:1].lower()}{message[1:]}, not {json.dumps(found)}")


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    inside: dict[int | str, type[_Entry]] = {"kernels": Kernels, "expect": Expectation}
    entry = next((inside[part] for part in loc[2:-1] if part in inside), Module)
    fields = (Catalog if len(loc) == 1 else entry).model_fields
    return [field.alias or name for name, field in fields.items() if name != "name"]


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f" (do you mean '{near[0]}'?)" if near else ""


def _named(key: object, entry: object) -> object:
    if isinstance(entry, dict) and "name" in entry:
        raise ValueError(f"{key}.name: unknown key: the name is '{key}' already; drop it")
    return {**entry, "name": key} if isinstance(entry, dict) else entry


def _undeclared(name: str, folder: Path) -> Module:
    source = [f"{name}.c"] if (folder / f"{name}.c").is_file() else []
    return Module(name=name, source=source)


def _with_source(module: Module, folder: Path) -> Module:
    return module if module.source else module.model_copy(update={"source": [f"{module.name}.c"]})


def _check_files(path: Path, folder: Path, modules: dict[str, Module]) -> None:
    for module in modules.values():
        for key, files in (("source", module.source), ("programs", module.programs)):
            for file in files:
                if not (folder / file).is_file():
                    raise LabError(
                        f"{path}: modules.{module.name}.{key}: there is no file {path.parent / file}",
                        hint="name the files from the catalog's folder",
                    )


def _check_needs(path: Path, modules: dict[str, Module]) -> None:
    for module in modules.values():
        for need in module.needs:
            if need not in modules:
                raise LabError(
                    f"{path}: modules.{module.name}.needs: no module '{need}'{_near(need, modules)}",
                    hint="name one of this catalog (an in-tree module belongs in kernel_modules)",
                )
    try:
        TopologicalSorter({name: module.needs for name, module in modules.items()}).prepare()
    except CycleError as problem:
        cycle = problem.args[1][::-1]
        raise LabError(f"{path}: modules.{cycle[0]}.needs: {' needs '.join(cycle)}", hint="break the circle") from problem


def _needs_first(modules: list[Module]) -> list[Module]:
    """Depth first through the needs, so that only what must move moves."""
    by_name = {module.name: module for module in modules}
    ordered: dict[str, Module] = {}

    def place(module: Module) -> None:
        for need in module.needs:
            if need not in ordered:
                place(by_name[need])
        ordered.setdefault(module.name, module)

    for module in modules:
        place(module)
    return list(ordered.values())
