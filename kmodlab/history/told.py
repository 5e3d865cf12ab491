"""What of a night others read: a feed, a badge, numbers for a monitor, JSON for a command of the user's."""

from __future__ import annotations

import json
import re
import subprocess
import xml.etree.ElementTree as Tree
from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from kmodlab.ground.errors import LabError
from kmodlab.history.row import Night
from kmodlab.history.states import State
from kmodlab.history.tonight import Change, Tonight

COMMAND_SECONDS = 300
ENTRIES = 50
"""So many nights stay in the feed."""
_ATOM = "http://www.w3.org/2005/Atom"
_NO_XML = re.compile(r"[^\t\n\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_CHARACTER = 6.2
"""Pixels of one in the badge, about."""


def as_json(night: Tonight) -> dict[str, Any]:
    """The night as programs read it: what `on_change` has on its input."""
    return {
        "run": night.night.run,
        "started": night.night.started,
        "headline": night.headline,
        "broken": [_change(each) for each in night.broken],
        "fixed": [_change(each) for each in night.fixed],
        "newcomers": [_change(each) for each in night.newcomers],
        "known": [_change(each) for each in night.known],
        "troubles": night.troubles,
        "stale": [str(each) for each in night.stale],
    }


def _change(change: Change) -> dict[str, str]:
    row, memory = change.row, change.memory
    return {
        "kernel": row.kernel,
        "module": row.module,
        "state": memory.state.value,
        "since": memory.since,
        "stage": row.stage,
        "reason": row.reason,
        "fingerprint": row.fingerprint,
        "blame": memory.blame,
        "changed": change.changed,
    }


def run_command(command: str, night: Tonight) -> None:
    """The user's own command, with the night as JSON on its input. LabError where it fails."""
    try:
        shell = ["/bin/sh", "-c", command]
        subprocess.run(shell, input=json.dumps(as_json(night)), text=True, check=True, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.SubprocessError) as problem:
        raise LabError(f"on-change: {problem}", hint="try the command by hand; the night is in tonight.json") from problem


def atom(entries: Sequence[tuple[str, str, str, str]], url: str) -> bytes:
    """A feed (RFC 4287) of nights with news: run, when (RFC 3339), title, text; the newest first."""
    Tree.register_namespace("", _ATOM)
    feed = Tree.Element(f"{{{_ATOM}}}feed")
    _say(feed, "id", "urn:kmodlab:nightly")
    _say(feed, "title", "kmodlab: what changed")
    _say(feed, "updated", entries[0][1] if entries else "1970-01-01T00:00:00Z")
    _say(_say(feed, "author", ""), "name", "kmodlab")
    if url:
        _say(feed, "link", "", href=url)
    for run, when, title, text in entries[:ENTRIES]:
        entry = _say(feed, "entry", "")
        _say(entry, "id", f"urn:kmodlab:nightly:{run}")
        _say(entry, "title", title)
        _say(entry, "updated", when)
        _say(entry, "content", text, type="text")
        if url:
            _say(entry, "link", "", href=url)
    made: str = Tree.tostring(feed, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{made}".encode()


def _say(above: Tree.Element, name: str, text: str, **attributes: str) -> Tree.Element:
    below = Tree.SubElement(above, f"{{{_ATOM}}}{name}", attributes)
    below.text = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text) or None
    return below


def badge(night: Tonight) -> str:
    """An SVG of one line: green, red, or grey where the lab can say nothing."""
    status = night.exit_status()
    passed = sum(each.row.verdict == "pass" for each in night.changes)
    words = {0: f"{passed} of {len(night.changes)} pass", 1: f"{len(night.broken)} newly broken", 2: "the lab is in trouble"}[
        status
    ]
    colour = {0: "#187a34", 1: "#c01c28", 2: "#6e7781"}[status]
    left, right = "kmodlab", words
    a, b = (round(len(text) * _CHARACTER + 12) for text in (left, right))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{a + b}" height="20" role="img" aria-label="{left}: {escape(right)}">'
        f"<title>{left}: {escape(right)}</title>"
        f'<rect width="{a + b}" height="20" rx="3" fill="#444"/>'
        f'<path d="M{a} 0h{b - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{a}z" fill="{colour}"/>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{a / 2:g}" y="14">{left}</text><text x="{a + b / 2:g}" y="14">{escape(right)}</text></g></svg>\n'
    )


def openmetrics(night: Tonight, ended: float) -> str:
    """Numbers for a monitor, in OpenMetrics' text; `ended` in seconds since 1970.

    node_exporter's collector for text files reads it, too.
    """
    states = Counter((each.row.kernel, each.memory.state) for each in night.changes)
    lines = ["# TYPE kmodlab_cells gauge", "# HELP kmodlab_cells Cells of the newest night by kernel and state."]
    for kernel in sorted({kernel for kernel, _ in states}):
        lines += [
            f'kmodlab_cells{{kernel="{_label(kernel)}",state="{_label(state.value)}"}} {states[kernel, state]}' for state in State
        ]
    single = (
        ("newly_broken", "Cells that worked and do not.", len(night.broken)),
        ("troubles", "What the lab could not do.", len(night.troubles)),
        ("night_seconds", "How long the night took.", night.night.seconds),
        ("night_ended_timestamp_seconds", "When the newest night ended.", ended),
    )
    for name, text, value in single:
        lines += [f"# TYPE kmodlab_{name} gauge", f"# HELP kmodlab_{name} {text}", f"kmodlab_{name} {value}"]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def entry(night: Night, text: str, headline: str) -> tuple[str, str, str, str]:
    """A night as the feed has it."""
    return night.run, night.started or "1970-01-01T00:00:00Z", headline, text
