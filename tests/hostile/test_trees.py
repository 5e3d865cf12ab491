import os
import re
from pathlib import Path

import pytest

from kmodlab.build import trees
from kmodlab.build.trees import Tree, copied
from kmodlab.ground.errors import LabError


def inside(tree: Tree) -> list[str]:
    return sorted(str(path.relative_to(tree.folder)) for path in tree.folder.rglob("*"))


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "a").mkdir(parents=True)
    (folder / "a/a.c").write_text("int a;\n")
    return folder


def test_a_copy_is_what_was_there_without_products_and_hidden_files(origin: Path) -> None:
    for name in (".git", "a.ko", "a.mod.c", "Module.symvers", "script.sh"):
        (origin / "a" / name).write_text("")
    (origin / "a/script.sh").chmod(0o700)
    (origin / "a/here").symlink_to("a.c")
    (origin / "a/again").symlink_to(".")
    tree = copied(origin)
    assert inside(tree) == ["a", "a/a.c", "a/again", "a/here", "a/script.sh"] and not tree.refused
    assert (tree.folder / "a/again").is_symlink() and (tree.folder / "a/here").readlink() == Path("a.c")
    assert (tree.folder / "a/script.sh").stat().st_mode & 0o777 == 0o755
    assert (tree.folder / "a/a.c").stat().st_mtime_ns == (origin / "a/a.c").stat().st_mtime_ns


def test_the_same_content_is_the_same_copy_and_another_is_another(origin: Path) -> None:
    first = copied(origin)
    assert copied(origin) == first
    (origin / "a/a.c").write_text("int b;\n")
    second = copied(origin)
    assert second.folder != first.folder and (first.folder / "a/a.c").read_text() == "int a;\n"
    (origin / "a/link").symlink_to("a.c")
    assert copied(origin).folder != second.folder


@pytest.mark.parametrize(
    "leads",
    ["/dev/zero", "/etc/passwd", "..", "../..", "../../secret", "../../../../../../etc", "again/../../../secret", "x/../a.c"],
)
def test_a_link_that_leads_out_is_refused_by_name_and_not_followed(origin: Path, leads: str) -> None:
    (origin.parent / "secret").write_text("secret")
    (origin / "a/again").symlink_to(".")
    (origin / "a/z").symlink_to(leads)
    if leads == "..":  # to the folder itself
        assert not copied(origin).refused
        return
    tree = copied(origin)
    assert list(tree.refused) == ["a/z"]
    assert (
        tree.refusal(tree.folder / "a") == f"{origin}/a/z leads out of the folder, to {leads}: put what it leads to there itself"
    )
    assert not any("secret" in path.read_text() for path in tree.folder.rglob("*") if path.is_file())


def test_one_of_several_folders_costs_itself_only(origin: Path) -> None:
    (origin / "b").mkdir()
    (origin / "b/pipe").unlink(missing_ok=True)
    os.mkfifo(origin / "b/pipe")
    tree = copied(origin)
    assert tree.refusal(tree.folder / "a") == ""
    assert tree.refusal(tree.folder / "b") == f"{origin}/b/pipe is no regular file: take it out"


def test_what_is_too_large_too_many_or_too_deep_is_refused(origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_FILES", 20)
    with (origin / "a/huge").open("w") as file:
        file.truncate(1 << 42)
    (origin / "many").mkdir()
    for number in range(30):
        (origin / f"many/{number:02}").write_text("")
    below = origin / "deep"
    for _ in range(trees.MOST_DEEP + 5):
        below /= "d"
    below.mkdir(parents=True)
    tree = copied(origin)
    assert "of 4398046511104 bytes is too large: a folder may have 1024 MiB in all" in tree.refusal(tree.folder / "a")
    assert re.search(r"many/\d\d is one file too many: a folder may have 20 in all", tree.refusal(tree.folder / "many"))
    assert len(list((tree.folder / "many").iterdir())) < 20
    assert "one file too many" in tree.refusal(tree.folder / "deep")


def test_so_much_below_each_other_is_refused(origin: Path) -> None:
    below = origin / "deep"
    for _ in range(trees.MOST_DEEP + 5):
        below /= "d"
    below.mkdir(parents=True)
    tree = copied(origin)
    assert f"is more than {trees.MOST_DEEP} folders deep" in tree.refusal(tree.folder / "deep")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything; tests/hostile runs as an ordinary user, too")
def test_what_cannot_be_read_is_refused(origin: Path) -> None:
    (origin / "a/closed").write_text("")
    (origin / "a/closed").chmod(0)
    tree = copied(origin)
    assert "cannot be read" in tree.refusal(tree.folder / "a")


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is no folder"):
        copied(tmp_path / "gone")
