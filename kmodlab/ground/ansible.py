"""How the lab runs Ansible: with its own settings, and with the collection kmodlab.lab of this very version."""

from __future__ import annotations

import os

from kmodlab.ground.cache import COLLECTIONS, REPOSITORY

OTHERS = "~/.ansible/collections:/usr/share/ansible/collections"
"""Where Ansible looks for collections by itself: a person's inventory may have plugins from there."""


def ansible_settings() -> dict[str, str]:
    """Variables of the environment for whatever of Ansible the lab runs.

    A kmodlab.lab of another version, which `ansible-galaxy` has installed, comes after the one that belongs to this package.
    """
    others = os.environ.get("ANSIBLE_COLLECTIONS_PATH") or OTHERS
    return {
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{COLLECTIONS}:{others}",
        "ANSIBLE_NOCOLOR": "1",
    }
