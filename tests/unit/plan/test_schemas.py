"""The JSON Schemas in the package say what the models say, of files that are really there."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kmodlab.ground.cache import PACKAGE, REPOSITORY
from kmodlab.plan.schemas import SCHEMAS, schema_of
from kmodlab.results.contract import Check, Kernel, ModuleInfo, Stage, Verdict
from kmodlab.results.folder import Planned, Run

CATALOGS = sorted(path for folder in ("examples", "tests") for path in (REPOSITORY / folder).rglob("catalog.yml"))


def problems(name: str, found: object) -> list[str]:
    """What a schema of the package says against a document."""
    schema = json.loads((PACKAGE / "schemas" / f"{name}.json").read_text())
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    return [error.message for error in validator(schema).iter_errors(found)]


def changed(path: str, *keys: str, value: object) -> Any:
    """A file of the repository with one value that is another."""
    document = yaml.safe_load((REPOSITORY / path).read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return document


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_file_is_what_the_models_say(name: str) -> None:
    kept = json.loads((PACKAGE / "schemas" / f"{name}.json").read_text())
    assert kept == schema_of(name), "run `make generated`"


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: path.parent.name)
def test_catalogs_of_the_repository_hold(path: Path) -> None:
    assert problems("catalog", yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("schema",), 2),
        (("modules", "hello-1", "limitt"), 3),
        (("modules", "hello-1", "name"), "hello-1"),
        (("modules", "hello-1", "source"), "/etc/passwd"),
        (("modules", "hello 1"), {}),
    ],
)
def test_what_the_catalogs_reader_refuses_is_refused(keys: tuple[str, ...], value: object) -> None:
    assert problems("catalog", changed("examples/catalog.yml", *keys, value=value))


def test_a_module_may_be_a_name_and_a_source_a_string() -> None:
    assert problems("catalog", {"schema": 1, "modules": {"one": None, "two": {"source": "two.c"}}}) == []


@pytest.mark.parametrize(
    ("name", "path"), [("kernels", "inventories/matrix/hosts.yml"), ("boards", "inventories/boards/hosts.yml")]
)
def test_inventories_of_the_repository_hold(name: str, path: str) -> None:
    assert problems(name, yaml.safe_load((REPOSITORY / path).read_text())) == []


@pytest.mark.parametrize(
    ("name", "path", "keys", "value"),
    [
        ("kernels", "inventories/matrix/hosts.yml", ("all", "vars", "vm_memroy"), 3),
        ("kernels", "inventories/matrix/hosts.yml", ("all", "vars", "vm_memory"), "much"),
        ("kernels", "inventories/matrix/hosts.yml", ("all", "children", "arm64", "vars", "kernel_arch"), "aarch64"),
        ("boards", "inventories/boards/hosts.yml", ("all", "children", "boards", "hosts", "rpi4", "board_arhc"), "arm64"),
        ("boards", "inventories/boards/hosts.yml", ("all", "children", "boards", "hosts", "rpi4", "board_gpio", "led"), "22nd"),
    ],
)
def test_what_the_inventories_reader_refuses_is_refused(name: str, path: str, keys: tuple[str, ...], value: object) -> None:
    assert problems(name, changed(path, *keys, value=value))


def test_results_that_a_run_has_published_hold(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    cells = [Planned(kernel="6.12", module=name) for name in ("one", "two")]
    run.plan([Kernel(id="6.12", arch="x86_64")], [ModuleInfo(name=name, source="", sha256="") for name in ("one", "two")], cells)
    run.record(
        "6.12", "one", Stage.BUILD, Verdict.FAIL, "no", checks=[Check(name="it builds", verdict=Verdict.FAIL, reason="no")]
    )
    run.publish()
    found = json.loads((run.folder / "results.json").read_text())
    assert problems("results", found) == []
    assert problems("results", {**found, "schema": 99})
    assert problems("results", {**found, "cells": [{**found["cells"][0], "verdict": "maybe"}]})
    del found["kernels"]
    assert problems("results", found)
