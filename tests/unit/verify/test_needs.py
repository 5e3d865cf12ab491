"""What a module is loaded with, and after."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from kmodlab.plan.catalog import Module
from kmodlab.verify import module
from kmodlab.verify.module import kernel_name, kernel_words, own_needs, typed
from kmodlab.verify.worker import Worker


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("", []),
        ("a=1 b=x,y,z", ["a=1", "b=x,y,z"]),
        ('text="hello world" n=1', ['text="hello world"', "n=1"]),
        ("text='a \"b'", ['text=a "b']),
        ("'text=$HOME;*'", ["text=$HOME;*"]),
        ("flag", ["flag"]),
    ],
)
def test_the_kernel_reads_parameters_as_they_were_typed(parameters: str, words: list[str]) -> None:
    assert kernel_words(parameters) == words


def test_the_shell_passes_them_on_as_they_are() -> None:
    assert typed("""text="two words" path=/a/$b""") == """'text="two words"' 'path=/a/$b'"""


def test_a_cell_with_its_folders_name_is_the_file_behind_it_to_the_kernel() -> None:
    assert [kernel_name(name) for name in ("hello-1", "alice.hello-1", "a.b+2.x")] == ["hello_1", "hello_1", "x"]


def test_of_several_of_one_name_the_nearest_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "modinfo", lambda ko: {"depends": "hub,other-one"})
    own = ["alice.hub", "alice.spoke", "bob.hub", "bob.spoke", "other_one"]
    assert own_needs(Path("/x/alice.spoke.ko"), own) == ["alice.hub", "other_one"]
    assert own_needs(Path("/x/bob.spoke.ko"), own) == ["bob.hub", "other_one"]


def test_what_a_softdep_names_is_needed_first_where_the_lab_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "modinfo", lambda ko: {"depends": "", "softdep": "pre: other-one crc32c post: late"})
    assert own_needs(Path("/x/one.ko"), ["one", "other_one", "late"]) == ["other_one"]
    assert own_needs(Path("/x/other_one.ko"), ["one", "other_one"]) == [], "it does not need itself"


def test_softdeps_that_go_round_in_a_circle_end(monkeypatch: pytest.MonkeyPatch) -> None:
    says = {"a": "pre: b", "b": "pre: c", "c": "pre: a"}
    monkeypatch.setattr(module, "modinfo", lambda ko: {"softdep": says[ko.stem]})
    worker = Worker.__new__(Worker)
    worker.entries = {name: Module(name=name) for name in says}
    monkeypatch.setattr(worker, "column", SimpleNamespace(ko=lambda name: Path(f"/x/{name}.ko")), raising=False)
    assert [need.name for need in worker._needs(worker.entries["a"])] == ["c", "b"]
