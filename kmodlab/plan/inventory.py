"""Inventories, which mean here what they mean to Ansible's users: groups in groups, group_vars and host_vars, ranges, templates,
vaults, INI, whole folders. Ansible reads them.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from kmodlab.ground import process
from kmodlab.ground.errors import LabError

if TYPE_CHECKING:
    from kmodlab.plan.ansible_inventory import Told

_Model = TypeVar("_Model", bound=BaseModel)


def hosts_in(path: Path, model: type[_Model], prefixes: tuple[str, ...]) -> dict[str, _Model]:
    """All hosts by name, in their order, as models: of their variables, those that a prefix begins and the model's other fields.

    LabError, naming file, host and variable, for what Ansible cannot read and for what the model does not take.
    """
    hosts, _ = _told(path, *prefixes, *model.model_fields)
    return {name: _validated(path, name, model, values) for name, values in hosts.items()}


def groups_of(path: Path) -> dict[str, list[str]]:
    """All groups by name, but Ansible's own two, each with its hosts and those of the groups in it. LabError for a bad file."""
    _, groups = _told(path)
    return {name: hosts for name, hosts in groups.items() if name not in ("all", "ungrouped")}


def group_in(path: Path, group: str) -> list[str]:
    """The hosts of one group, and of those in it. LabError where there is no such group, and for a bad file."""
    _, groups = _told(path)
    if group not in groups:
        raise LabError(f"{path}: no group '{group}'", hint=f"it has: {' '.join(groups)}")
    return groups[group]


def _told(path: Path, *wanted: str) -> Told:
    if _whole_ansible():
        from kmodlab.plan.ansible_inventory import read  # by whoever reads an inventory: it takes a while

        return read(path, wanted)
    command = [sys.executable, "-m", "kmodlab.plan.ansible_inventory", str(path), *wanted]
    answer = process.run(command, seconds=process.SHORT)
    if answer.status:
        raise LabError(answer.last_word)
    hosts, groups = json.loads(answer.output)
    return hosts, groups


def _whole_ansible() -> bool:
    """Whether Ansible is here. A process that it has started for a module has only what modules need, from an archive."""
    found = find_spec("ansible.module_utils")
    return found is not None and found.origin is not None and Path(found.origin).is_file()


def _validated(path: Path, name: str, model: type[_Model], values: dict[str, Any]) -> _Model:
    try:
        return model(**{**values, "id": name})
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise LabError(f"{path}: host {name}: {key}: {first['msg']}") from problem
