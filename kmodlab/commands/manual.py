"""`kmodlab manual`: the manual page, made of what the commands say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from kmodlab import __version__
from kmodlab.commands.group import STATUSES, Command

ENVIRONMENT = {
    "KMODLAB_MIRROR, KMODLAB_SECURITY_MIRROR": "Mirrors of Debian's archives; default: those of this machine's own apt.",
    "KMODLAB_SIGNING_KEY, KMODLAB_SIGNING_CERTIFICATE": "A key of yours to sign with, and its certificate.",
    "KMODLAB_SIGNING_PASSPHRASE_FILE": "A file with that key's passphrase.",
    "XDG_CACHE_HOME": "Where images, builds and snapshots are kept, in the folder kmodlab; ~/.cache by default.",
    "XDG_CONFIG_HOME": "Where the key for real machines is kept, in the folder kmodlab; ~/.config by default.",
}
FILES = {
    "catalog.yml": "Beside the modules: what they promise beyond that they load.",
    "reports/latest": "The newest run: index.html, results.json, junit.xml, logs.",
}


@click.command("manual", cls=Command)
@click.pass_context
def show_manual(context: click.Context) -> None:
    """Print the manual page: kmodlab manual | man -l -"""
    click.echo("\n".join(manual(context.find_root())))


def manual(root: click.Context) -> Iterator[str]:
    """The lines of the page, in man's own macros."""
    group = root.command
    assert isinstance(group, click.Group)  # noqa: S101 for mypy
    yield f'.TH KMODLAB 1 "" "kmodlab {__version__}" "User Commands"'
    yield from (".SH NAME", _text("kmodlab - prove that Linux kernel modules work"))
    yield from (".SH SYNOPSIS", ".B kmodlab", _text("COMMAND [OPTIONS]"))
    yield from (".SH DESCRIPTION", _text(group.help or ""))
    yield ".SH COMMANDS"
    yield from _commands(root, "")
    yield from (".SH EXIT STATUS", *_entries(dict(re.findall(r"^ +(\d+)  (.*)$", STATUSES, re.MULTILINE))))
    yield from (".SH ENVIRONMENT", *_entries(ENVIRONMENT))
    yield from (".SH FILES", *_entries(FILES))


def _commands(context: click.Context, prefix: str) -> Iterator[str]:
    group = context.command
    assert isinstance(group, click.Group)  # noqa: S101 for mypy
    for name in group.list_commands(context):
        inner = click.Context(group.commands[name], info_name=f"{prefix}{name}", parent=context)
        yield from _commands(inner, f"{name} ") if isinstance(inner.command, click.Group) else _command(inner)


def _command(context: click.Context) -> Iterator[str]:
    command = context.command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _command(click.Context(each, info_name=f"{context.info_name} {name}", parent=context.parent))
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f".SS {_text(f'kmodlab {context.info_name} {usage}')}", _text(command.help or ""))
    records = (each.get_help_record(context) for each in command.get_params(context) if each.name != "help")
    yield from _entries(dict(record for record in records if record and record[1]))


def _entries(entries: dict[str, str]) -> Iterator[str]:
    for name, meaning in entries.items():
        yield from (".TP", f"\\fB{_text(name)}\\fR", _text(meaning))


def _text(text: str) -> str:
    """Words as roff shows them: a backslash, a hyphen, a dot or an apostrophe that begins a line mean something to it."""
    words = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{words}" if words.startswith((".", "'")) else words
