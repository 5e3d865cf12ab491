"""Inventories, read by Ansible itself, so that they mean here what they mean to its users: groups in groups, group_vars and
host_vars, ranges, templates, vaults, INI, whole folders.

Importing this takes as long as the rest of kmodlab: whoever reads an inventory does so when he reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import ansible.constants as settings
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import get_file_vault_secret
from ansible.template import Templar
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager
from pydantic import BaseModel, ValidationError

from kmodlab.ground.errors import LabError

_Model = TypeVar("_Model", bound=BaseModel)


def hosts_in(path: Path, model: type[_Model], prefixes: tuple[str, ...]) -> dict[str, _Model]:
    """All hosts by name, in their order, as models: of their variables, those that a prefix begins and the model's other fields.

    LabError, naming file, host and variable, for what Ansible cannot read and for what the model does not take.
    """
    inventory, loader = _opened(path)
    variables = VariableManager(loader=loader, inventory=inventory)
    models = {}
    for host in inventory.hosts.values():
        try:
            values = variables.get_vars(host=host, include_hostvars=False)
            ours = {key: values[key] for key in values if key.startswith(prefixes) or key in model.model_fields}
            filled = Templar(loader=loader, variables=values).template(ours)
        except AnsibleError as problem:
            raise LabError(f"{path}: host {host.name}: {_line(problem)}") from problem
        # Ansible's texts and lists are its own kinds, which know where they come from.
        models[host.name] = _validated(path, host.name, model, json.loads(json.dumps(filled, default=str)))
    return models


def groups_of(path: Path) -> dict[str, list[str]]:
    """All groups by name, but Ansible's own two, each with its hosts and those of the groups in it. LabError for a bad file."""
    inventory, _ = _opened(path)
    return {name: list(hosts) for name, hosts in inventory.get_groups_dict().items() if name not in ("all", "ungrouped")}


def group_in(path: Path, group: str) -> list[str]:
    """The hosts of one group, and of those in it. LabError where there is no such group, and for a bad file."""
    inventory, _ = _opened(path)
    groups = inventory.get_groups_dict()
    if group not in groups:
        raise LabError(f"{path}: no group '{group}'; it has: {' '.join(groups)}")
    return list(groups[group])


def _opened(path: Path) -> tuple[InventoryManager, DataLoader]:
    if not path.exists():
        raise LabError(f"{path}: No such file or directory; the inventory should be there")
    loader = DataLoader()
    loader.set_basedir(str(path if path.is_dir() else path.parent))
    settings.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    with _refusals() as refused:
        try:
            if password := settings.DEFAULT_VAULT_PASSWORD_FILE:
                secret = get_file_vault_secret(filename=password, loader=loader)
                secret.load()
                loader.set_vault_secrets([(settings.DEFAULT_VAULT_IDENTITY, secret)])
            inventory = InventoryManager(loader=loader, sources=[str(path)])
        except AnsibleError as problem:
            raise LabError(f"{path}: {_reason(path, refused) or _line(problem)}") from problem
    if not inventory.hosts:
        raise LabError(f"{path}: it names no hosts")
    return inventory, loader


@contextmanager
def _refusals() -> Iterator[dict[str, AnsibleError]]:
    """Why Ansible's readers of inventories (yaml, ini, ...) did not take a file: each would tell the screen, in ten lines."""
    display, refused = Display(), dict[str, AnsibleError]()

    def hear(msg: str, exception: AnsibleError) -> None:
        refused[msg] = exception

    display.error_as_warning = hear
    try:
        yield refused
    finally:
        del display.error_as_warning


def _reason(path: Path, refused: dict[str, AnsibleError]) -> str:
    """The reason of the reader for which a file was meant; with the line, where one of them says it."""
    if not refused:
        return ""
    meant = [each for who, each in refused.items() if "'yaml'" in who and path.suffix != ".ini"]
    lines = [each.obj.line_num for each in refused.values() if getattr(each.obj, "line_num", None)]
    return f"{f'line {lines[0]}: ' if lines else ''}{_line((meant or list(refused.values()))[-1])}"


def _line(problem: AnsibleError) -> str:
    return " ".join(str(problem).split())


def _validated(path: Path, name: str, model: type[_Model], values: dict[str, Any]) -> _Model:
    try:
        return model(**{**values, "id": name})
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise LabError(f"{path}: host {name}: {key}: {first['msg']}") from problem
