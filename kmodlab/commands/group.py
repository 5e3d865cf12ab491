"""Every command's exit status and help by one contract: what is wrong is one line and a status, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError
from rich.console import Console

from kmodlab.ground.errors import LabError

STATUSES = """\b
Exit status:
    0  no module failed; what was asked for is done
    1  a module failed; of lint-c: something is to be mended
    2  the lab could not do its work, or was misused
  130  interrupted"""


class Command(click.Command):
    """A command whose help says what its exit status means."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"epilog": STATUSES, **settings})


class Commands(click.Group):
    """All commands."""

    command_class = Command

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"epilog": STATUSES, **settings})

    def main(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Any:
        try:
            status = super().main(args, *more, **{**settings, "standalone_mode": False})
        except NoArgsIsHelpError as problem:
            problem.show()
            sys.exit(2)
        except click.ClickException as problem:
            path = problem.ctx.command_path if isinstance(problem, click.UsageError) and problem.ctx else "kmodlab"
            _say(f"{problem.format_message().rstrip('.')}; see `{path} --help`")
            sys.exit(2)
        except LabError as problem:
            _say(str(problem))
            sys.exit(2)
        except subprocess.TimeoutExpired as problem:
            _say(f"{problem.cmd[0]} did not end within {problem.timeout:.0f} s")
            sys.exit(2)
        except (KeyboardInterrupt, click.Abort):
            _say("interrupted")
            sys.exit(130)
        sys.exit(status if isinstance(status, int) else 0)


def _say(line: str) -> None:
    Console(stderr=True, highlight=False).print(f"kmodlab: {line}", markup=False, soft_wrap=True)
