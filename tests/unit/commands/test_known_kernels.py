"""`kmodlab kernels` says what may be asked for, and what of it is here; it asks nobody."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kmodlab.cli import main
from kmodlab.debian import archive, roots
from kmodlab.debian.archive import Resolved
from kmodlab.plan.kernels import Kernel, load_inventory

BOARDS = """
all:
  children:
    boards:
      hosts:
        pi: {board_arch: arm64, ansible_host: pi.example, board_offers: [keyboard]}
"""


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(archive, "mirrors", lambda: ("http://main", "http://security"))
    monkeypatch.setattr(archive, "_ask_archive", lambda *_: pytest.fail("the archive was asked"))
    (tmp_path / "boards.yml").write_text(BOARDS)
    return lambda *more: CliRunner().invoke(main, ["kernels", "--boards", str(tmp_path / "boards.yml"), *more])


def remember(kernel: Kernel) -> Resolved:
    """As if the archive had been asked."""
    resolved = Resolved(kernel=kernel, release="6.12.1", version="6.12.1-1", sources=archive.sources(kernel, "http://main", ""))
    path = archive._answer(kernel, archive.sources(kernel, "http://main", "http://security"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(resolved.model_dump_json())
    return resolved


def test_every_kernel_is_there_with_its_groups(kernels: Callable[..., Result]) -> None:
    found = {each["id"]: each for each in json.loads(kernels("--json").stdout)["kernels"]}
    assert list(found) == list(load_inventory())
    assert found["6.12-x86_64"]["groups"] == ["fleet", "nightly"] and found["6.1-armhf"]["groups"] == []
    assert found["6.12-x86_64"]["firmware"] == "ovmf" and found["6.1-armhf"]["line"] == "6.1"
    assert not any(each["release"] or each["cached"] for each in found.values())


def test_boards_are_there(kernels: Callable[..., Result]) -> None:
    found = json.loads(kernels("--json").stdout)["boards"]
    assert found == [{"id": "pi", "arch": "arm64", "host": "pi.example", "offers": ["keyboard"]}]


def test_what_the_archive_said_and_what_is_cached(kernels: Callable[..., Result]) -> None:
    resolved = remember(load_inventory()["6.12-x86_64"])
    roots.image_path(resolved, "boot").mkdir(parents=True)
    found = {each["id"]: each for each in json.loads(kernels("--json").stdout)["kernels"]}
    assert (found["6.12-x86_64"]["release"], found["6.12-x86_64"]["cached"]) == ("6.12.1", ["boot"])


def test_no_column_is_cut_on_a_narrow_terminal(kernels: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    remember(load_inventory()["6.12-x86_64"])
    lines = kernels().stdout.splitlines()
    assert any(line.split() == ["6.12-x86_64", "6.12", "x86_64", "6.12.1", "ovmf", "fleet", "nightly"] for line in lines)


def test_an_inventory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["kernels", "--boards", str(tmp_path / "gone.yml")])
    (line,) = answer.stderr.splitlines()
    assert answer.exit_code == 2 and "gone.yml" in line
