"""JSON Schemas of the files that a person or a program writes or reads, made from the models that read them.

`make generated` keeps them as kmodlab/schemas/NAME.json, where an editor finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from kmodlab.plan.assignment import Assignment, Mutants
from kmodlab.plan.boards import Board
from kmodlab.plan.catalog import Catalog
from kmodlab.plan.kernels import Kernel
from kmodlab.results.contract import Results

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""What pydantic writes."""


def catalog() -> Schema:
    """A folder's catalog.yml."""
    schema = _of(Catalog, "validation")
    entry = schema["$defs"]["Module"]
    # Its name is its key; and where nothing else is said of it, nothing stands there.
    del entry["properties"]["name"]
    entry["required"].remove("name")
    if not entry["required"]:
        del entry["required"]
    modules = schema["properties"]["modules"]
    named = modules["patternProperties"]
    modules["patternProperties"] = {name: {"anyOf": [each, {"type": "null"}]} for name, each in named.items()}
    modules["additionalProperties"] = False
    # A single source may be a plain string.
    source = entry["properties"]["source"]
    source["anyOf"] = [{"type": source.pop("type"), "items": source["items"]}, source.pop("items")]
    return schema


def kernels() -> Schema:
    """The inventory of the lab's kernels, inventories/matrix/hosts.yml."""
    return _inventory(Kernel, "kernel_", "vm_")


def boards() -> Schema:
    """An inventory of boards, as inventories/boards/hosts.yml."""
    return _inventory(Board, "board_")


def results() -> Schema:
    """A run's results.json."""
    return _of(Results, "serialization")


def assignment() -> Schema:
    """An assignment's assignment.yml."""
    return _of(Assignment, "validation")


def mutants() -> Schema:
    """An assignment's mutants.yml."""
    return _of(Mutants, "validation")


SCHEMAS: dict[str, Callable[[], Schema]] = {
    "catalog": catalog,
    "kernels": kernels,
    "boards": boards,
    "results": results,
    "assignment": assignment,
    "mutants": mutants,
}
"""By name: each says in its first line what it is of."""


def schema_of(name: str) -> Schema:
    """One of them, with what it is of as its title."""
    make = SCHEMAS[name]
    return {"$schema": DIALECT, **make(), "title": (make.__doc__ or "").rstrip(".")}


def _of(model: type[BaseModel], mode: Any) -> Schema:
    return model.model_json_schema(by_alias=True, mode=mode)


def _inventory(model: type[BaseModel], *prefixes: str) -> Schema:
    """An inventory of Ansible's whose hosts' variables make up a model.

    They may stand at a host, its group or `all`, so none is required where it stands; of ours no other may. Ansible's own and
    those of roles are nobody's business here.
    """
    schema = _of(model, "validation")
    variables = {name: value for name, value in schema["properties"].items() if name != "id"}
    ours = "|".join(prefixes)
    definitions = {
        **schema.get("$defs", {}),
        "Variables": {
            "type": ["object", "null"],
            "properties": variables,
            "patternProperties": {f"^(?!({'|'.join(variables)})$)({ours})": False},
        },
        "Hosts": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/Variables"}},
        "Group": {
            "type": ["object", "null"],
            "properties": {
                "vars": {"$ref": "#/$defs/Variables"},
                "hosts": {"$ref": "#/$defs/Hosts"},
                "children": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/Group"}},
            },
            "additionalProperties": False,
        },
    }
    return {"type": "object", "properties": {"all": {"$ref": "#/$defs/Group"}}, "required": ["all"], "$defs": definitions}
