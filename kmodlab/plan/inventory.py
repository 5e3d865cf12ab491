"""Inventories as the lab reads them itself: no more of Ansible's YAML than hosts, with variables from `all` and their groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from kmodlab.ground.errors import LabError

_Model = TypeVar("_Model", bound=BaseModel)


def hosts_of(path: Path) -> dict[str, dict[str, Any]]:
    """All hosts by name, each with its variables: its own before its group's before everybody's. LabError for a bad file."""
    groups, common = _groups(path)
    hosts: dict[str, dict[str, Any]] = {}
    for group in groups.values():
        for name, own in (group.get("hosts") or {}).items():
            hosts.setdefault(name, dict(common)).update({**(group.get("vars") or {}), **(own or {})})
    return hosts


def group_in(path: Path, group: str) -> list[str]:
    """The hosts of one group. LabError where there is no such group, and for a bad file."""
    groups, _ = _groups(path)
    if group not in groups:
        raise LabError(f"{path}: no group '{group}' under all.children; it has: {' '.join(groups)}")
    return list(groups[group].get("hosts") or {})


def validated(path: Path, name: str, model: type[_Model], values: dict[str, Any]) -> _Model:
    """A host's variables as a model; LabError, naming file, host and variable, where they will not do."""
    try:
        return model(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise LabError(f"{path}: host {name}: {key}: {first['msg']}") from problem


def _groups(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as problem:
        raise LabError(f"{path}: {problem.strerror}; the inventory should be there") from problem
    except yaml.YAMLError as problem:
        raise LabError(f"{path}: not YAML: {' '.join(str(problem).split())}") from problem
    top = (tree or {}).get("all") if isinstance(tree, dict) else None
    if not isinstance(top, dict) or not isinstance(top.get("children"), dict):
        raise LabError(f"{path}: expected groups of hosts under all.children")
    return top["children"], top.get("vars") or {}
