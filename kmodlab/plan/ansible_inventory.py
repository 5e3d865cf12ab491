"""Inventories, read by Ansible itself. Importing this takes as long as the rest of kmodlab; `kmodlab.plan.inventory` is its door.

python -m kmodlab.plan.ansible_inventory PATH [WORD ...]    prints what `read` returns; status 2 and one line where it cannot
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

from kmodlab.ground.errors import LabError

try:
    import ansible.constants as settings
except AnsibleError as problem:
    said = " ".join(str(problem).split())
    hint = "mend its settings, or set ANSIBLE_HOME to a folder of yours"
    raise LabError(f"Ansible cannot begin: {said}", hint=hint) from problem
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import get_file_vault_secret
from ansible.template import Templar
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager

Told = tuple[dict[str, dict[str, Any]], dict[str, list[str]]]


def read(path: Path, wanted: Sequence[str]) -> Told:
    """An inventory: all hosts by name, in their order, each with those of its variables that are wanted or that begin with a
    wanted word ending in "_"; and all groups by name, each with its hosts and those of the groups in it.

    LabError, naming file, line and host, for what Ansible cannot read.
    """
    inventory, loader = _opened(path)
    variables = VariableManager(loader=loader, inventory=inventory)
    prefixes = tuple(word for word in wanted if word.endswith("_"))
    hosts = {}
    for host in inventory.hosts.values():
        try:
            values = variables.get_vars(host=host, include_hostvars=False)
            ours = {key: values[key] for key in values if key.startswith(prefixes) or key in wanted}
            filled = Templar(loader=loader, variables=values).template(ours)
        except AnsibleError as problem:
            raise LabError(f"{path}: host {host.name}: {_line(problem)}") from problem
        # Ansible's texts and lists are its own kinds, which know where they come from.
        hosts[host.name] = json.loads(json.dumps(filled, default=str))
    return hosts, {name: list(members) for name, members in inventory.get_groups_dict().items()}


def _opened(path: Path) -> tuple[InventoryManager, DataLoader]:
    if not path.exists():
        raise LabError(f"{path}: No such file or directory", hint="the inventory should be there")
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


if __name__ == "__main__":
    try:
        print(json.dumps(read(Path(sys.argv[1]), sys.argv[2:])))
    except LabError as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
