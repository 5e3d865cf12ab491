"""`kmodlab init`: what it writes of what it saw, and what it does not write over."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmodlab import cli
from kmodlab.judge.kernel_log import Record
from kmodlab.plan.catalog import Kernels, Module, load_catalog
from kmodlab.stages.introduction import Introduction, first_catalog, first_test
from kmodlab.verify.first_look import Seen, same

WHERE = "6.12-x86_64 (6.12.1)"


def records(*texts: str, facility: int = 0) -> list[Record]:
    return [Record(seq=number, time=0.0, level=6, facility=facility, text=text) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("first", "second", "patterns"),
    [
        (["one: hello (world)"], ["one: hello (world)"], [r"^one: hello \(world\)$"]),
        # A short number is a word; a long one, and one that was another, is a number.
        (["major 240", "world 2", "try 1"], ["major 240", "world 2", "try 2"], [r"^major \d+$", "^world 2$", r"^try \d+$"]),
        (["at 0xffffC0DE, 00000000deadbeef"], ["at 0x12345, 00000000feedbeef"], ["^at 0x[0-9a-fA-F]+, [0-9a-f]+$"]),
        # Who speaks once is somebody else; nor is the loader's own word the module's.
        (["a", "clocksource: slow", "b"], ["a", "b", "usb: new"], ["^a$", "^b$"]),
        (["one: loading out-of-tree module taints kernel."], ["one: loading out-of-tree module taints kernel."], []),
        (["a", "b"], ["b", "a"], ["^a$"]),
        (["tick"] * 5, ["tick"] * 7, ["^tick$"]),
    ],
)
def test_lines_become_patterns_that_both_loads_match(first: list[str], second: list[str], patterns: list[str]) -> None:
    assert list(same(records(*first), records(*second))) == patterns
    assert same(records(*first, facility=1), records(*second, facility=1)) == ()


def test_what_is_written_can_be_read_and_keeps_what_was_known(tmp_path: Path) -> None:
    seen = Seen(
        "my-mod",
        {"/dev/my": "character special file", "/proc/it's": "regular empty file"},
        (r"^my: 'quoted' \"words\": \d+$", "^- begins like a list$"),
        ("^gone$",),
        {"debug": "0", "text": 'a "word" \\'},
        {"debug": "How much\nis said (int)"},
    )
    known = Module(name="my-mod", parameters="debug=1", kernels=Kernels.model_validate({"from": "5.10", "reason": "old"}))
    plain = Introduction(Module(name="plain"), [], Seen("plain", parameters={"a": "1"}))
    for name in ("start.c", "stop.c", "plain.c"):
        (tmp_path / name).touch()
    (tmp_path / "catalog.yml").write_text(
        first_catalog([Introduction(known, ["start.c", "stop.c"], seen), plain], ["CONFIG_MY=m"], WHERE)
    )
    catalog = load_catalog(tmp_path)
    entry = catalog.modules["my-mod"]
    assert entry.at_load == [*seen.at_load] and entry.at_unload == ["^gone$"] and entry.paths == [*seen.files]
    assert entry.parameters == "debug=1" and entry.kernels == known.kernels and entry.source == ["start.c", "stop.c"]
    assert catalog.make == ["CONFIG_MY=m"] and not catalog.modules["plain"].at_load
    assert "    # parameters: a=1\n" in (tmp_path / "catalog.yml").read_text()
    tree = ast.parse(first_test(seen, WHERE))
    tables = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value) for node in tree.body[3:] if isinstance(node, ast.Assign)
    }
    assert tables == {"FILES": seen.files, "PARAMETERS": seen.parameters}
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert names == ["test_its_files_are_there", "test_its_parameters_are_what_they_are_where_nobody_says"]
    nothing = ast.parse(first_test(Seen("plain"), WHERE))
    assert [node.name for node in nothing.body if isinstance(node, ast.FunctionDef)] == ["test_it_can_come_and_go_many_times"]


@pytest.mark.parametrize("there", ["catalog.yml", "tests/test_one.py"])
def test_nothing_is_written_over_unasked(tmp_path: Path, there: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / there).write_text("mine\n")
    answer = CliRunner().invoke(cli.main, ["init", str(tmp_path)])
    assert answer.exit_code == 2
    assert f"{tmp_path / there}: is there already; --force writes it anew, and keeps it as NAME.old" in answer.output.replace(
        "\n", ""
    )
    assert (tmp_path / there).read_text() == "mine\n"


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    answer = CliRunner().invoke(cli.main, ["init", str(tmp_path / "none")])
    assert answer.exit_code == 2 and "is no folder; name the one with your Makefile" in answer.output
