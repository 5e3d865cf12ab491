"""Inventories, which mean here what they mean to Ansible's users: groups in groups, group_vars and host_vars, ranges, templates,
vaults, INI, whole folders. Ansible reads them, which takes a second; what it has read of plain files is kept.
"""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from kmodlab.ground import process
from kmodlab.ground.cache import cache_dir, digest
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside

if TYPE_CHECKING:
    from kmodlab.plan.ansible_inventory import Told

_Model = TypeVar("_Model", bound=BaseModel)
LIVE = re.compile(rb"\{\{|\{%|\$ANSIBLE_VAULT|!vault|^#!|^ *[\"']?plugin[\"']? *:", re.MULTILINE)
"""What an inventory says in whose files not all is said: templates, vaults, programs, plugins."""
SETTINGS = ("ansible.cfg", "~/.ansible.cfg", "/etc/ansible/ansible.cfg")
"""Where Ansible looks for its settings, if ANSIBLE_CONFIG does not say."""
PLUGINS = tuple(f"{where}/plugins/{kind}" for where in ("~/.ansible", "/usr/share/ansible") for kind in ("inventory", "vars"))
"""Where a person may have put code that has its own word in every inventory."""


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
    key = _key(path, wanted)
    kept = cache_dir() / "inventories" / f"{key}.json"
    if key and kept.exists():
        hosts, groups = json.loads(kept.read_text())
        return hosts, groups
    told = _ask_ansible(path, wanted)
    if key:
        kept.parent.mkdir(exist_ok=True)
        write_aside(kept, json.dumps(told))
    return told


def _key(path: Path, wanted: tuple[str, ...]) -> str:
    """Of all that decides what Ansible reads of an inventory; empty where files do not tell that."""
    beside = [path] if path.is_dir() else [path, path.parent / "group_vars", path.parent / "host_vars"]
    files = sorted(file for each in beside for file in (each, *each.rglob("*")) if file.is_file())
    try:
        contents = [file.read_bytes() for file in files]
    except OSError:  # Ansible finds the words for it
        return ""
    programs = any(os.access(file, os.X_OK) for file in files)
    if programs or any(map(LIVE.search, contents)) or any(Path(each).expanduser().exists() for each in PLUGINS):
        return ""
    settings = (Path(each).expanduser() for each in (os.environ.get("ANSIBLE_CONFIG", ""), *SETTINGS) if each)
    told = (*settings, Path(__file__).with_name("ansible_inventory.py"))
    environment = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("ANSIBLE_"))
    named = [part for file, content in zip(files, contents, strict=True) for part in (str(file), content)]
    return digest(
        version("ansible-core"), str(path), *wanted, "", *environment, "", *named, *(each for each in told if each.is_file())
    )


def _ask_ansible(path: Path, wanted: tuple[str, ...]) -> Told:
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
