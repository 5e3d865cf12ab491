"""A command's options from a file: `--config FILE`, YAML, with the options' long names; the command line goes before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

MOST = 1 << 20
"""Bytes of a settings file."""


def _read(path: Path, context: click.Context) -> dict[str, Any]:
    """The file's settings as click takes them, by the names of the command's parameters."""
    try:
        # Every value is text, as on the command line: 6.10 is no number here.
        found = yaml.load(path.read_text()[:MOST], Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and maps only
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise click.UsageError(f"{path}: {' '.join(str(problem).split())}", context) from problem
    if not isinstance(found or {}, dict):
        raise click.UsageError(f"{path}: it must hold lines like `kernels: 6.12-x86_64`", context)
    return {parameter.name: value for parameter, value in _settings(path, found or {}, context) if parameter.name}


def _settings(path: Path, found: dict[str, Any], context: click.Context) -> list[tuple[click.Option, Any]]:
    known = {
        name.removeprefix("--"): each
        for each in context.command.params
        if isinstance(each, click.Option)
        for name in each.opts
        if name.startswith("--") and name != "--config"
    }
    settings = []
    for name, value in found.items():
        if name not in known:
            raise click.UsageError(f"{path}: there is no setting {name!r}, but {', '.join(known)}", context)
        if value != "":  # left empty: the default
            settings.append((known[name], _value(path, name, value, known[name], context)))
    return settings


def _value(path: Path, name: str, value: Any, parameter: click.Option, context: click.Context) -> Any:
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) for word in words):
        raise click.UsageError(f"{path}: {name} must be a text or a list of texts", context)
    if parameter.multiple:
        return words
    text = " ".join(words)
    try:
        parameter.type.convert(text, parameter, context)
    except click.BadParameter as problem:
        raise click.UsageError(f"{path}: {name}: {problem.message}", context) from problem
    return text  # click converts it once more


def _take(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    if path:
        context.default_map = {**(context.default_map or {}), **_read(path, context)}


CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_take,
    help="A YAML file with any of these options by their names: `kernels: 6.12-x86_64`. The command line goes before it.",
)
