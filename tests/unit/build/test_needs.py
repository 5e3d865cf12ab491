"""What a module needs of its tree, by its own word, and in which order."""

from pathlib import Path

import pytest

from kmodlab.build import needs
from kmodlab.build.needs import in_loading_order, kernel_name, own_needs


def test_a_cell_with_its_folders_name_is_the_file_behind_it_to_the_kernel() -> None:
    assert [kernel_name(name) for name in ("hello-1", "alice.hello-1", "a.b+2.x")] == ["hello_1", "hello_1", "x"]


def test_of_several_of_one_name_the_nearest_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "modinfo", lambda ko: {"depends": "hub,other-one"})
    own = ["alice.hub", "alice.spoke", "bob.hub", "bob.spoke", "other_one"]
    assert own_needs(Path("/x/alice.spoke.ko"), own) == ["alice.hub", "other_one"]
    assert own_needs(Path("/x/bob.spoke.ko"), own) == ["bob.hub", "other_one"]


def test_what_a_softdep_names_is_needed_first_where_the_lab_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "modinfo", lambda ko: {"depends": "", "softdep": "pre: other-one crc32c post: late"})
    assert own_needs(Path("/x/one.ko"), ["one", "other_one", "late"]) == ["other_one"]
    assert own_needs(Path("/x/other_one.ko"), ["one", "other_one"]) == [], "it does not need itself"


@pytest.mark.parametrize(
    ("says", "first"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, ["c", "b"]),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, ["d", "b", "c"]),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, ["c", "b"]),
        ({"a": ["a", "b"], "b": ["b"]}, ["b"]),
    ],
)
def test_what_is_needed_comes_first_and_circles_end(says: dict[str, list[str]], first: list[str]) -> None:
    assert in_loading_order("a", says.__getitem__) == first
