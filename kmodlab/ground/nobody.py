"""The user that root becomes for what may be a stranger's: it has no account, owns nothing, and is in no group."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from kmodlab.ground.errors import LabError

NOBODY = 61184
"""The first of the ids that systemd keeps for users that come and go (DynamicUser=), so that no account has it."""


def become_nobody(groups: Sequence[int] = ()) -> list[str]:
    """What is put in front of a command; nothing where the lab is run by an ordinary user, who stays who that is."""
    if os.geteuid() != 0:
        return []
    kept = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    return [program("setpriv", "util-linux"), f"--reuid={NOBODY}", f"--regid={NOBODY}", kept, "--no-new-privs", "--"]


def program(name: str, package: str) -> str:
    """The path of a program that a stranger is held by. LabError where it is missing."""
    found = shutil.which(name)
    if not found:
        raise LabError(
            f"{name} is missing, without which other people's code is never run", hint=f"install the package {package}"
        )
    return found
