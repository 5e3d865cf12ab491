"""What a tree builds is what comes out of its build, where its rules alone do not say it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from kmodlab.build import modules as rooms
from kmodlab.build.modules import Explored, Part, SourceModule, discover, module_of
from kmodlab.build.trees import copied
from kmodlab.ground.errors import LabError


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


class Building:
    """A build that makes what is said here, by the part's folder."""

    def __init__(self, made: dict[str, list[str]], *, broken: Sequence[str] = (), clean: bool = True) -> None:
        self.made = made
        self.broken = broken
        self.clean = clean
        self.asked: dict[str, list[str]] = {}

    def __call__(self, part: Part, asked: Sequence[SourceModule]) -> Explored:
        name = part.folder.name if part.folder.parent.name != "sources" else "."
        self.asked[name] = [module.path for module in asked]
        found = [module_of(part, path, (path,), path) for path in [*self.made.get(name, []), *self.broken]]
        return Explored(found, self.clean, "" if self.clean else "make: *** no luck")


def paths(folder: Path, building: Building) -> dict[str, str]:
    return {module.name: str(module.folder.name) + "|" + module.path for module in discover(copied(folder), building)}


def test_a_flat_folder_is_asked_and_not_built(tmp_path: Path) -> None:
    building = Building({})
    found = discover(copied(put(tmp_path, {"Makefile": "obj-m := a.o\nall:\n\t./configure && make -C x\n", "a.c": ""})), building)
    assert [module.path for module in found] == ["a"] and not building.asked


def test_folders_of_folders_are_built_from_the_top_and_what_comes_out_counts(tmp_path: Path) -> None:
    tree = {"Kbuild": "obj-m += core/ extras/\n", "core/Kbuild": "obj-m := core.o\n", "extras/deep/Kbuild": "obj-m := x.o\n"}
    building = Building({".": ["core/core", "made/up"]})
    found = discover(copied(put(tmp_path, {**tree, "tests/Makefile": "obj-m := never.o\n"})), building)
    assert [module.path for module in found] == ["core/core", "made/up"]
    assert building.asked["."] == ["core/core", "extras/deep/x", "tests/never"]
    assert all(module.part.top == "." and not module.part.plain for module in found)


def test_where_the_top_does_not_build_it_all_the_folders_are_asked_for_the_rest(tmp_path: Path) -> None:
    tree = {
        "Makefile": "all:\n\tfor each in one two; do $(MAKE) -C $$each || exit 1; done\n",
        "one/Makefile": "obj-m := one.o\n",
        "two/Makefile": "obj-m := two.o\n",
        "tools/Makefile": "all: tool\n",
    }
    building = Building({".": ["one/one"]}, clean=False)
    found = {module.name: module for module in discover(copied(put(tmp_path, tree)), building)}
    assert list(found) == ["one", "two"]
    assert found["one"].path == "one/one" and found["two"].path == "two" and found["two"].folder.name == "two"


def test_what_only_a_build_that_failed_could_have_made_stays_a_cell(tmp_path: Path) -> None:
    tree = {"Makefile": "obj-m := top.o\nobj-y += sub/\n", "sub/Makefile": "obj-m := below.o\n"}
    found = discover(copied(put(tmp_path, tree)), Building({}, broken=["sub/below"], clean=False))
    assert sorted(module.path for module in found) == ["sub/below", "top"]


def test_a_users_program_among_the_folders_is_no_module(tmp_path: Path) -> None:
    tree = {"prog/Makefile": "all: prog\nprog: prog.c\n", "mod/Makefile": "obj-m := mod.o\n"}
    building = Building({})
    assert list(paths(put(tmp_path, tree), building)) == ["mod"] and not building.asked


def test_modules_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    tree = {f"{who}/Makefile": "obj-m := hello.o\n" for who in ("alice", "bob b.", "carol@x")}
    assert paths(put(tmp_path, tree), Building({})) == {
        "alice.hello": "alice|hello",
        "bob-b..hello": "bob b.|hello",
        "carol-x.hello": "carol@x|hello",
    }
    twins = {f"{who}/Makefile": "obj-m := twin.o\n" for who in ("a-b", "a b")}
    assert sorted(paths(put(tmp_path / "two", twins), Building({}))) == ["a-b+2.twin", "a-b.twin"]


def test_a_part_sees_the_whole_tree_only_where_it_looks_beyond_its_folder(tmp_path: Path) -> None:
    tree = {
        "alone/Makefile": "obj-m := alone.o\n",
        "alone/alone.c": '#include "alone.h"\n',
        "uses/Makefile": "obj-m := uses.o\nccflags-y := -I$(src)/../include\n",
        "includes/Makefile": "obj-m := includes.o\n",
        "includes/includes.c": '#include "../include/x.h"\n',
        "include/x.h": "",
    }
    put(tmp_path, tree)
    copy = copied(tmp_path)
    found = {module.name: module for module in discover(copy)}
    assert found["alone"].part.root == copy.folder / "alone" and found["alone"].part.top == "."
    assert (found["uses"].part.root, found["uses"].part.top) == (copy.folder, "uses")
    assert (found["includes"].part.root, found["includes"].part.top) == (copy.folder, "includes")
    before = {name: module.key() for name, module in found.items()}
    (tmp_path / "include/x.h").write_text("int x;\n")
    after = {module.name: module.key() for module in discover(copied(tmp_path))}
    assert [name for name in before if before[name] != after[name]] == ["includes", "uses"]


def test_rules_that_include_others_above_them_are_read(tmp_path: Path) -> None:
    tree = {"common.mk": "obj-m += $(NAME).o\n", "one/Makefile": "NAME := one\ninclude $(src)/../common.mk\n"}
    found = discover(copied(put(tmp_path, tree)), Building({"one": ["one"]}))
    assert [module.name for module in found] == ["one"]


def test_what_the_catalog_tells_make_is_told_when_rules_are_asked_and_is_in_the_key(tmp_path: Path) -> None:
    folder = put(tmp_path, {"Makefile": "obj-$(CONFIG_FOO) += foo.o\nobj-m += bar.o\n", "foo.c": "", "bar.c": ""})
    plain, told = discover(copied(folder)), discover(copied(folder), make=("CONFIG_FOO=m",))
    assert [module.name for module in plain] == ["bar"] and [module.name for module in told] == ["foo", "bar"]
    assert plain[0].key() != told[1].key()


def test_a_tree_of_which_nothing_can_be_built_says_why(tmp_path: Path) -> None:
    put(tmp_path, {"Makefile": "include /nowhere/rules.mk\n"})
    with pytest.raises(LabError, match=r"holds no module: .*Makefile cannot be read by make: .*rules\.mk"):
        discover(copied(tmp_path), Building({}, clean=False))


def test_a_package_is_what_its_dkms_conf_names(tmp_path: Path) -> None:
    put(tmp_path, {"dkms.conf": "PACKAGE_NAME=x\n", "Makefile": "obj-m := other.o\n"})
    found = discover(copied(tmp_path), _dkms)
    assert [(module.path, module.part.dkms) for module in found] == [("src/named", True)]


def _dkms(part: Part, asked: Sequence[SourceModule]) -> Explored:
    return Explored([rooms.module_of(part, "src/named", ("src/named",), "")] if part.dkms else [], True)


def test_a_dkms_conf_that_cannot_be_read_leaves_the_makefile(tmp_path: Path) -> None:
    def explore(part: Part, asked: Sequence[SourceModule]) -> Explored:
        if part.dkms:
            raise LabError("MODULES: dkms.conf cannot be read")
        return Explored(list(asked), True)

    put(tmp_path, {"dkms.conf": "#MODULE_VERSION#\n", "Makefile": "obj-m := mine.o\n"})
    assert [(module.path, module.part.dkms) for module in discover(copied(tmp_path), explore)] == [("mine", False)]
