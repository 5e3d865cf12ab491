"""What pyproject.toml cannot say of the wheel: files that it brings elsewhere than where they are in a checkout."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COLLECTION = "ansible_collections/kmodlab/lab"
SHARED = ("LICENSE", "ansible.cfg", "galaxy.yml")


class Hook(BuildHookInterface):
    """Only for a wheel that is installed: a checkout has its files, and must not be found as a collection twice."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"].update({name: f"{COLLECTION}/{name}" for name in SHARED})
