"""`kmodlab nightly`: the matrix against its own past."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from rich.console import Console

from kmodlab.commands.group import Command
from kmodlab.commands.matrix import look_after_the_key, say_kernels
from kmodlab.commands.options import REPORTS, Span, request_options
from kmodlab.commands.settings import CONFIG
from kmodlab.ground.ending import terminated_is_interrupted
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import printable
from kmodlab.ground.packages import need_packages
from kmodlab.history.known import load_known
from kmodlab.history.mail import Mail, notice, send
from kmodlab.history.series import Series
from kmodlab.history.tonight import FailOn, Tonight
from kmodlab.machine.runtime import stop_all
from kmodlab.report import terminal
from kmodlab.report.progress import Progress
from kmodlab.run.lab import Lab
from kmodlab.stages.matrix import only_run, prove
from kmodlab.stages.nightly import Habits, Telling, night
from kmodlab.stages.request import Request

STATUSES = """\b
Exit status:
    0  nothing that worked stopped working
    1  something is newly broken; with --fail-on any: something fails
    2  the lab could not do its work, all of it or a part, or was misused
  130  interrupted"""
LAST_LINES = 40
"""Of what a night said that ended unforeseen."""
MOST_SAID = 1 << 16


@click.command("nightly", cls=Command, epilog=STATUSES)
@CONFIG
@request_options
@REPORTS
@click.option("--series", type=click.Path(path_type=Path), default=Path("nightly"), help="The folder of the history.")
@click.option("--site", type=click.Path(path_type=Path), help="Where the page goes; default: site in the series.")
@click.option("--known", type=click.Path(path_type=Path), help="A YAML list of known issues.")
@click.option("--fail-on", type=click.Choice(FailOn), default=FailOn.NEW, help="What makes the night red: news, or any failure.")
@click.option("--changed", is_flag=True, help="Leave out what is the same module on the same release, and passed.")
@click.option("--deadline", type=Span(), default="24h", show_default=True, help="How long the night may take.")
@click.option("--wait", type=Span(), default="1h", show_default=True, help="How long another run is waited for.")
@click.option(
    "--keep-runs", type=click.IntRange(min=1), default=30, show_default=True, help="So many runs' logs are kept; all rows are."
)
@click.option("--mail", "to", multiple=True, metavar="ADDRESS", help="Who gets a mail when something changed; more than once.")
@click.option("--mail-from", default=Mail.sender, show_default=True, help="From whom.")
@click.option("--smtp", default="", metavar="HOST:PORT", help="The server that takes mails; default: sendmail.")
@click.option("--on-change", default="", metavar="COMMAND", help="A command that has the night as JSON on its input.")
@click.option("--url", default="", help="Where the page can be seen: for mails and the feed.")
@click.option(
    "--ended",
    default="",
    metavar="HOW",
    help="Prove nothing; mail that a night ended so, with the end of the input. For OnFailure=.",
)
def run_nightly(
    request: Request,
    reports: Path,
    series: Path,
    site: Path | None,
    known: Path | None,
    fail_on: FailOn,
    deadline: float,
    wait: float,
    keep_runs: int,
    to: tuple[str, ...],
    mail_from: str,
    smtp: str,
    on_change: str,
    url: str,
    ended: str,
) -> None:
    """Prove every module on every kernel, and tell what stopped working since the nights before."""
    console = Console(highlight=False)
    letter = Mail(to=to, sender=mail_from, smtp=smtp) if to else None
    if ended:
        _mail_the_end(ended, letter)
        return
    need_packages()
    folder = series.absolute()
    habits = Habits(
        series=Series(folder),
        site=site.absolute() if site else folder / "site",
        known=load_known(known) if known else [],
        hours=deadline / 3600,
        keep=keep_runs,
        telling=Telling(letter, on_change, url),
    )
    interrupted = False

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with _told(letter), only_run(wait=wait) as lock, terminated_is_interrupted():
        stop_all()
        look_after_the_key(console)

        def watched(lab: Lab) -> bool:
            nonlocal interrupted
            say_kernels(lab, console)
            with Progress(lab.run, console, lab.run.previous()):
                interrupted = prove(lab, lock, habits.hours)
            return interrupted

        found = night(request, reports.absolute(), habits, lock, say, watched)
    if not found:
        say("nothing changed since the nights before: no cell was proved")
        sys.exit(0)
    _show(found, reports, habits, say, console)
    sys.exit(130 if interrupted else found.exit_status(fail_on))


@contextmanager
def _told(letter: Mail | None) -> Iterator[None]:
    """Have those who get mails know of a night that has no page, because it could not be."""
    try:
        yield
    except LabError as problem:
        if letter:
            with suppress(LabError):  # the one that is raised is the cause
                send(notice("the lab could not do its work", [str(problem)], letter), letter)
        raise


def _mail_the_end(how: str, letter: Mail | None) -> None:
    if not letter:
        raise LabError("nobody is to be told how a night ended", hint="say to whom with --mail")
    said = sys.stdin.buffer.read()[-MOST_SAID:]
    send(notice(f"the night ended: {how}", printable(said.decode(errors="replace")).splitlines()[-LAST_LINES:], letter), letter)


def _show(found: Tonight, reports: Path, habits: Habits, say: Callable[[str], None], console: Console) -> None:
    try:
        terminal.show(reports / found.night.run, console)
    except LabError as problem:
        say(f"warning: {problem}")
    say("")
    for change in (*found.broken, *found.newcomers, *found.fixed):
        say(change.line)
    for line in (*found.troubles, *found.stale):
        say(f"lab: {line}")
    say(f"{found.headline}\n{habits.site / 'index.html'}")
