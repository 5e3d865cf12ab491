"""The options that commands share: which modules are meant where nobody says, and what a shell can complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from kmodlab.build.modules import rules_file
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError
from kmodlab.plan.boards import INVENTORY, load_boards
from kmodlab.plan.kernels import load_inventory
from kmodlab.results.shard import Shard
from kmodlab.run.order import Manner
from kmodlab.stages.request import Request

EXAMPLES = "examples"
"""The word for kmodlab's own modules, where there is no folder of that name."""
MODULES_HELP = "A tree of modules, a source file, or several of these; default: this folder; examples: kmodlab's own."


def modules_asked(named: str) -> str | Path:
    """What `--modules` names; without it, this folder, or in kmodlab's own checkout its examples.

    LabError where none is named and this one has no Makefile: all that is below it would be copied, and that may be a home.
    """
    here = Path.cwd()
    if (named == EXAMPLES and not (here / EXAMPLES).is_dir()) or (not named and here == REPOSITORY):
        return REPOSITORY / EXAMPLES
    if not named and not (here / rules_file(here)).is_file():
        hint = f"name a folder with --modules, or `--modules {EXAMPLES}` for kmodlab's own"
        raise LabError(f"MODULES: no Makefile in {here}", hint=hint)
    return named or here


_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 3600}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([MGTmgt]?)(?:i?B)?")


class Span(click.ParamType[float]):
    """A span of time, `6h`, `90m`, `30d`; hours where no letter stands. In seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = _SPAN.fullmatch(str(value).strip())
        if not found or not float(found[1]):
            self.fail(f"{value!r} is no span of time like 6h, 90m or 2d", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


class Size(click.ParamType[int]):
    """A size on the disk, `20G`, `500M`; GiB where no letter stands. In bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _SIZE.fullmatch(str(value).strip())
        if not found:
            self.fail(f"{value!r} is no size like 20G or 500M", param, ctx)
        return int(float(found[1]) * (1 << {"M": 20, "G": 30, "T": 40, "": 30}[found[2].upper()]))


class ShardName(click.ParamType[Shard]):
    """A part of a run's cells, 2/5."""

    name = "n/m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        try:
            return Shard.parse(str(value))
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


class Words(click.ParamType[str]):
    """Several words in one option, "6.1 6.12-arm64", of which a shell completes the last one."""

    name = "text"

    def known(self, context: click.Context) -> Iterable[str]:
        """The words there are."""
        raise NotImplementedError

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, blank, begun = incomplete.rpartition(" ")
        try:
            found = [each for each in self.known(ctx) if each.startswith(begun)]
        except (LabError, OSError):  # whoever completes a line has no use for it; whoever runs it is told
            found = []
        return [CompletionItem(f"{before}{blank}{each}") for each in found]


class KernelWords(Words):
    """Ids of kernels and names of boards."""

    def known(self, context: click.Context) -> Iterable[str]:
        return ["all", *load_inventory(), *load_boards(Path(context.params.get("boards") or INVENTORY))]


class ModuleWords(Words):
    """Names of the folder's modules, as far as its rules say them plainly: a shell does not wait for make in a sandbox."""

    def known(self, context: click.Context) -> Iterable[str]:
        folder = Path(modules_asked(context.params.get("modules") or ""))
        places = [folder, *(each for each in sorted(folder.iterdir()) if each.is_dir())]
        texts = (rules.read_text(errors="replace") for place in places if (rules := place / rules_file(place)).is_file())
        lines = (line for text in texts for line in re.findall(r"^\s*obj-\S+\s*[:+]?=\s*(.*)$", text, re.MULTILINE))
        return dict.fromkeys(name for line in lines for name in re.findall(r"([\w.+-]+)\.o\b", line))


KERNELS = click.option(
    "--kernels",
    type=KernelWords(),
    default="",
    help="Kernels by id or a unique part of it, boards, folders with a kernel's packages: '6.1 ./mine'; all; default: the fleet.",
)
MODULES = click.option("--modules", type=click.Path(), default="", help=MODULES_HELP)
BOARDS = click.option(
    "--boards", type=click.Path(path_type=Path), default=INVENTORY, help="The inventory of boards that --kernels may name."
)
REPORTS = click.option("--reports", type=click.Path(path_type=Path), default=Path("reports"), help="Where the results go.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_MANNER = (
    click.option("--secureboot", is_flag=True, help="On machines with Secure Boot, which refuse what is not signed."),
    click.option("--quick", is_flag=True, help="Life cycles only: each module is loaded, checked and unloaded, but not used."),
    click.option("--checks", is_flag=True, help="Have each kernel check its memory: what a module corrupts or loses is named."),
    click.option("--fresh", is_flag=True, help="Restore the machine before every module: two seconds each."),
    click.option("--keep", is_flag=True, help="Leave the machine of each kernel's first failed cell for a look."),
    click.option(
        "--stress", type=click.IntRange(min=0), default=0, help="Load each module so often, too, and watch the kernel's memory."
    ),
    click.option("--faults", is_flag=True, help="Have each allocation of a load fail once, on kernels that can do that."),
    click.option("--coverage", is_flag=True, help="Count which lines of C the tests reach, on kernels that can do that."),
    click.option(
        "--build-limit",
        type=click.FloatRange(min=1),
        default=Manner().build_limit,
        show_default=True,
        help="Seconds that building the modules of one folder for one kernel may take.",
    ),
)
"""The fields of `Manner`."""
_REQUEST = (
    KERNELS,
    click.option("--fleet", default="fleet", help="The inventory's group of kernels to take where none is named."),
    MODULES,
    click.option("--only", type=ModuleWords(), default="", help='These modules only, and what they need: "hello-1 chardev".'),
    click.option("--refresh", is_flag=True, help="Ask the archive for the newest versions now."),
    BOARDS,
)
"""The other fields of `Request`."""


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """What decides which cells a run has, and how they are proved: the command's argument `request`."""

    @wraps(command)
    def with_request(**options: Any) -> None:
        manner = Manner(**{name: options.pop(name) for name in Manner.model_fields})
        chosen = {field.name: options.pop(field.name) for field in fields(Request) if field.name in options}
        chosen |= {"modules": modules_asked(chosen["modules"]), "boards": chosen["boards"].absolute()}
        command(request=Request(**chosen, manner=manner), **options)

    for option in reversed((*_REQUEST, *_MANNER)):
        with_request = option(with_request)
    return with_request
