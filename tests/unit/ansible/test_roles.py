"""Each role says the same about its variables in its defaults, its argument specification and its README."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).parents[3] / "roles"
SPECS = sorted(ROLES.glob("*/meta/argument_specs.yml"))


def options(spec: Path) -> dict[str, Any]:
    entry_points: dict[str, Any] = yaml.safe_load(spec.read_text())["argument_specs"]
    return {name: option for point in entry_points.values() for name, option in point.get("options", {}).items()}


def defaults(spec: Path) -> dict[str, Any]:
    path = spec.parents[1] / "defaults/main.yml"
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def test_there_are_roles() -> None:
    assert SPECS


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.parts[-3])
def test_every_default_is_specified_with_the_same_value(spec: Path) -> None:
    given = {name: option["default"] for name, option in options(spec).items() if "default" in option}
    assert given == defaults(spec)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.parts[-3])
def test_what_is_required_has_no_default(spec: Path) -> None:
    assert not [name for name, option in options(spec).items() if option.get("required") and "default" in option]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.parts[-3])
def test_variables_have_the_roles_name_and_stand_in_its_readme(spec: Path) -> None:
    role = spec.parents[1]
    readme = (role / "README.md").read_text()
    for name in options(spec):
        assert name.startswith(f"{role.name}_")
        assert f"`{name}`" in readme


@pytest.mark.parametrize(
    ("line", "compiler"),
    [
        ('CONFIG_CC_VERSION_TEXT="gcc-10 (Debian 10.2.1-6) 10.2.1 20210110"', "gcc-10"),
        ("CONFIG_CC_VERSION_TEXT=gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc-12"),
        ("CONFIG_CC_VERSION_TEXT=x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0", "gcc-14"),
        ('CONFIG_CC_VERSION_TEXT="x86_64-linux-gnu-gcc-13 (Ubuntu 13.2.0-23ubuntu4) 13.2.0"', "gcc-13"),
        ("CONFIG_CC_VERSION_TEXT=Debian clang version 19.1.7", ""),
    ],
)
def test_build_toolchain_reads_the_compiler_from_every_form_of_the_headers(line: str, compiler: str) -> None:
    """kbuild quotes the value up to 5.10's auto.conf, and no longer in 6.1's."""
    tasks = yaml.safe_load((ROLES / "build_toolchain/tasks/main.yml").read_text())
    (script,) = (task["ansible.builtin.command"]["argv"][2] for task in tasks if "sed" in str(task))
    auto_conf = f"CONFIG_64BIT=y\n{line}\nCONFIG_GCC_VERSION=120200\n"
    answer = subprocess.run(["sed", "-n", script], input=auto_conf, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == compiler


@pytest.mark.parametrize(
    ("index", "packed"),
    [
        ("kernel/a/b.ko: kernel/a/c.ko\n", ""),
        ("kernel/a/b.ko.xz: kernel/a/c.ko.xz\n", "xz"),
        ("updates/kmodlab/hello-1.ko:\nkernel/a/b.ko.zst:\nkernel/a/c.ko.zst:\n", "zst"),
    ],
)
def test_module_deploy_packs_as_the_kernels_own_modules_are(index: str, packed: str) -> None:
    tasks = yaml.safe_load((ROLES / "module_deploy/tasks/install.yml").read_text())
    (script,) = (task["ansible.builtin.command"]["argv"][2] for task in tasks if "modules.dep" in str(task))
    answer = subprocess.run(["sed", "-n", script], input=index, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == packed
