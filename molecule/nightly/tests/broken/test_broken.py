"""What broke was mailed once, with its name; so was who did not come to the end; the log says all of it."""

from __future__ import annotations

import email
import json
import re

import pytest
from testinfra.host import Host


@pytest.fixture
def letters(host: Host) -> dict[str, str]:
    """What was mailed, by its subject."""
    found = host.check_output("cd /srv/mail/new && for each in *; do cat $each; printf '\\036'; done")
    letters = [email.message_from_string(each) for each in found.split("\x1e") if each.strip()]
    assert all(each["To"] == "kernel@example.org" for each in letters)
    return {re.sub(r"\s+", " ", each["Subject"]): str(each.get_payload()) for each in letters}


def test_the_break_was_told(host: Host, letters: dict[str, str]) -> None:
    assert "Invalid parameters" in letters["[kmodlab] newly broken: hello-1 on um-6.12"]
    night = json.loads(host.file("/var/lib/kmodlab/nights/site/tonight.json").content_string)
    assert [(each["module"], each["blame"]) for each in night["broken"]] == [("hello-1", "the module")]
    assert len(host.check_output("ls /var/lib/kmodlab/nights/rows/*/*.jsonl").split()) == 2


def test_ends_unforeseen_were_told(letters: dict[str, str]) -> None:
    assert set(letters) - {"[kmodlab] newly broken: hello-1 on um-6.12"} == {
        "[kmodlab] the night ended: signal KILL",
        "[kmodlab] the night ended: exit-code",
    }
