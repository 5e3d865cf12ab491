"""What MODULES may name: a tree, a source file, or several of these."""

from pathlib import Path

import pytest

from kmodlab.build.modules import discover
from kmodlab.build.trees import absolute, copied, packages_in
from kmodlab.ground.errors import LabError


def test_a_source_file_needs_no_makefile_and_finds_the_headers_beside_it(tmp_path: Path) -> None:
    for name in ("one.c", "one.h", "two.c"):
        (tmp_path / name).write_text("")
    tree = copied(str(tmp_path / "one.c"))
    assert sorted(path.name for path in tree.folder.iterdir()) == ["Makefile", "one.c", "one.h"]
    assert [module.name for module in discover(tree)] == ["one"]
    assert tree.origin == tmp_path and tree.named(tree.folder / "one.c") == tmp_path / "one.c"


def test_several_are_one_project_and_each_is_called_as_its_owner_does(tmp_path: Path) -> None:
    for name in ("a/hello", "b/hello", "c c/other"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "Makefile").write_text(f"obj-m := {folder.name}.o\n")
    (tmp_path / "b/hello/pipe").symlink_to("/etc/passwd")
    (tmp_path / "single.c").write_text("")
    asked = f"{tmp_path}/a/hello {tmp_path}/b/hello '{tmp_path}/c c/other' {tmp_path}/single.c"
    tree = copied(asked)
    found = {module.name: module for module in discover(tree)}
    assert list(found) == ["hello.hello", "hello-2.hello", "other", "single"]
    assert f"{tmp_path}/b/hello/pipe leads out" in found["hello-2.hello"].problem
    assert tree.named(found["hello.hello"].folder) == tmp_path / "a/hello"


def test_a_folder_whose_name_holds_blanks_is_one(tmp_path: Path) -> None:
    (tmp_path / "my modules").mkdir()
    assert copied(f"{tmp_path}/my modules").origin == tmp_path / "my modules"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("https://git.example.org/x.git", "is on the network"),
        ("git@example.org:x.git", "is on the network"),
        ("{tmp}/bare.git", "is a repository without its files: clone it"),
        ("{tmp}/notes.txt", r"is no folder, and no source in \.c"),
        ("{tmp}/gone", "is no folder"),
        ("'{tmp}", "No closing quotation"),
        ("", "names nothing"),
    ],
)
def test_what_cannot_be_taken_is_named_with_its_mend(tmp_path: Path, word: str, why: str) -> None:
    (tmp_path / "bare.git/objects").mkdir(parents=True)
    (tmp_path / "bare.git/HEAD").write_text("")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(LabError, match=f"^MODULES: .*{why}"):
        copied(word.format(tmp=tmp_path))


def test_many_words_are_no_name_that_is_too_long(tmp_path: Path) -> None:
    words = [f"toy{number}-dkms" for number in range(100)]
    assert packages_in(" ".join(words)) == words and absolute(" ".join(words)) == " ".join(words)
    with pytest.raises(LabError, match="is no folder, and no file"):
        copied("x" * 300)


def test_a_package_is_one_only_where_no_folder_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine-dkms").mkdir()
    assert packages_in("v4l2loopback-dkms mine-dkms x.c dm-writeboost-dkms=2.2.18-1") == [
        "v4l2loopback-dkms",
        "dm-writeboost-dkms=2.2.18-1",
    ]
    assert packages_in(tmp_path / "other-dkms") == []


def test_a_projects_own_tests_are_no_part_of_what_is_built(tmp_path: Path) -> None:
    """Each project has its own; who changes them builds nothing anew."""
    for name in ("a", "b"):
        (tmp_path / name / "tests/more").mkdir(parents=True)
        (tmp_path / name / "Makefile").write_text(f"obj-m := {name}.o\n")
        (tmp_path / name / "tests/data.h").write_text("")
        (tmp_path / name / "catalog.yml").write_text("schema: 1\n")
        (tmp_path / name / "tests/more/test_it.py").write_text(name)
    before = copied(tmp_path / "a")
    assert (before.tests[""] / "more/test_it.py").read_text() == "a" and (before.tests[""] / "data.h").is_file()
    assert sorted(str(path.relative_to(before.folder)) for path in before.folder.rglob("*")) == [
        "Makefile",
        "catalog.yml",
        "tests",
        "tests/data.h",
    ]
    (tmp_path / "a/tests/more/test_it.py").write_text("changed")
    after = copied(tmp_path / "a")
    assert after.folder == before.folder and (after.tests[""] / "more/test_it.py").read_text() == "changed"
    both = copied(f"{tmp_path}/a {tmp_path}/b")
    assert {name: (place / "more/test_it.py").read_text() for name, place in both.tests.items()} == {"a": "changed", "b": "b"}


def test_a_folder_tests_that_is_not_beside_a_catalog_is_a_part_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/Makefile").write_text("obj-m := one.o\n")
    (tmp_path / "tests/test_of_its_library.py").write_text("")
    tree = copied(tmp_path)
    assert not tree.tests and (tree.folder / "tests/test_of_its_library.py").is_file(), "no catalog: not for us"
    assert [module.name for module in discover(tree)] == ["one"]
