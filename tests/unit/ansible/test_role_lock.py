"""The lock that the role nightly_job installs from is a part of the checkout's own, and holds all that kmodlab names."""

from __future__ import annotations

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kmodlab.ground.cache import REPOSITORY

LEFT_OUT = {"crypt-r"}
"""What virt-firmware names for a program that the lab does not use: it would have to be compiled."""


def _locked(path: str) -> dict[str, str]:
    """Each NAME==VERSION of a lock, without for whom it is, with its hashes."""
    return dict(re.findall(r"^(\S+).*\\\n((?:    --hash=.*\n)+)", (REPOSITORY / path).read_text(), re.MULTILINE))


def test_it_has_what_kmodlab_names_in_the_checkouts_versions_and_hashes() -> None:
    ours, whole = _locked("roles/nightly_job/files/requirements.lock"), _locked("requirements.lock")
    assert ours.items() <= whole.items(), "run `make lock`"
    named = {
        canonicalize_name(Requirement(line).name)
        for line in (REPOSITORY / "requirements.txt").read_text().splitlines()
        if line[0] != "#"
    }
    held = {canonicalize_name(Requirement(line).name) for line in ours}
    assert named <= held, "run `make lock`"
    assert not LEFT_OUT & held
