from pathlib import Path

import pytest

from kmodlab.build.modules import SourceModule
from kmodlab.build.modules import discover as _discover
from kmodlab.build.trees import copied
from kmodlab.ground.errors import LabError
from kmodlab.ground.sandbox import Limits


def discover(folder: Path) -> list[SourceModule]:
    return _discover(copied(folder))


def names(folder: Path) -> list[str]:
    return [module.name for module in discover(folder)]


def put(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_a_flat_folder_with_a_composite_and_its_makefile_for_people(tmp_path: Path) -> None:
    rules = "obj-m += one.o\nobj-m += both.o\nboth-objs := a.o b.o\nall:\n\t$(MAKE) -C /nowhere M=$(PWD) modules\n"
    folder = put(tmp_path, Makefile=rules, one__c="", a__c="", b__c="")
    modules = {module.name: module for module in discover(folder)}
    assert list(modules) == ["one", "both"]
    assert [path.name for path in modules["both"].sources()] == ["a.c", "b.c"]


def test_one_folder_a_module(tmp_path: Path) -> None:
    for name in ("x", "y"):
        put(tmp_path / name, Makefile=f"obj-m := {name}.o\n", **{f"{name}__c": ""})
    assert names(tmp_path) == ["x", "y"]


def test_kbuild_outranks_makefile_and_conditions_on_the_architecture_are_seen(tmp_path: Path) -> None:
    kbuild = "ifeq ($(CONFIG_X86_64),y)\nobj-m += wide.o\nendif\nobj-$(CONFIG_NOTHING) += none.o\n"
    put(tmp_path, Makefile="all:\n\t./configure\n", Kbuild=kbuild, wide__c="")
    assert names(tmp_path) == ["wide"]


def test_a_makefile_with_two_faces_shows_kbuilds(tmp_path: Path) -> None:
    put(tmp_path, Makefile="ifneq ($(KERNELRELEASE),)\nobj-m := inner.o\nelse\nall: ; false\nendif\n", inner__c="")
    assert names(tmp_path) == ["inner"]


@pytest.mark.parametrize("name", ["m.h", "include/cfg.h", "common.mk", "table.sh"])
def test_whatever_a_build_may_read_belongs_to_a_modules_key(tmp_path: Path, name: str) -> None:
    rules = "include $(src)/common.mk\nobj-m := m.o\n"
    put(tmp_path, Makefile=rules, m__c="#include <cfg.h>\n", common__mk="", m__h="", table__sh="")
    put(tmp_path / "include", cfg__h="")
    (before,) = discover(tmp_path)
    assert discover(tmp_path) == [before]
    (tmp_path / name).write_text("# changed\n")
    (after,) = discover(tmp_path)
    assert after.key() != before.key()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "holds no module"),
        ({"Makefile": "all:\n"}, "holds no module"),
        ({"Makefile": "obj-m := a.o\nifeq\n"}, "Makefile cannot be read by make"),
    ],
)
def test_a_folder_without_a_module_says_what_was_expected(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    put(tmp_path, **files)
    with pytest.raises(LabError, match=expected):
        discover(tmp_path)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is no folder"):
        discover(tmp_path / "gone")


def test_reading_a_makefile_shows_it_neither_our_files_nor_the_network(tmp_path: Path) -> None:
    files = "obj-m := a.o\nobj-m += $(if $(wildcard /etc/passwd /root /home),files.o)\n"
    network = "obj-m += $(if $(shell grep : /proc/net/route /proc/net/dev | grep -v lo:),net.o)\n"
    assert names(put(tmp_path, Makefile=files + network)) == ["a"]


def test_one_folder_of_several_that_cannot_be_read_is_a_module_that_cannot_be_built(tmp_path: Path) -> None:
    put(tmp_path / "good", Makefile="obj-m := good.o\n", good__c="")
    put(tmp_path / "odd one", Makefile="obj-m := a.o\nifeq\n")
    put(tmp_path / "named", Makefile="obj-m := a@1.o\n")
    put(tmp_path / "tools", Makefile="all: main.d\ninclude main.d\n")
    found = {module.name: module.problem for module in discover(tmp_path)}
    assert list(found) == ["good", "a-1", "odd-one"]
    assert found["good"] == "" and "odd one/Makefile cannot be read by make" in found["odd-one"]
    assert "obj-m names 'a@1.o', which is no module's name here: rename it" in found["a-1"]


def test_a_makefile_that_hangs_or_floods_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmodlab.build.modules.READING", Limits(seconds=1, output=1 << 20))
    put(tmp_path / "good", Makefile="obj-m := good.o\n", good__c="")
    put(tmp_path / "hangs", Makefile="obj-m := $(shell sleep 100)\n")
    put(tmp_path / "floods", Makefile="obj-m := $(shell yes >&2)\n")
    found = {module.name: module.problem for module in discover(tmp_path)}
    assert (
        found["good"] == "" and "it did not end within 1 s" in found["hangs"] and "it printed more than 1 MiB" in found["floods"]
    )


def test_a_name_without_a_name_says_what_may_be_wrong(tmp_path: Path) -> None:
    with pytest.raises(
        LabError, match=r"Makefile: obj-m names '\.o', which is no module's name here: is a variable in obj-m unset\?"
    ):
        discover(put(tmp_path, Makefile="obj-m := $(NAME).o\n"))


def test_a_name_that_is_none_costs_its_own_module_only(tmp_path: Path) -> None:
    put(tmp_path, Makefile="obj-m := good.o h@llo.o na.me.o grö.o Upper.o\n", good__c="")
    found = {module.name: module.problem for module in discover(tmp_path)}
    assert list(found) == ["good", "h-llo", "na-me", "gr-", "Upper"]
    assert not found["good"] and not found["Upper"]
    why = "which is no module's name here: rename it: letters, digits, _, - and + only"
    assert found["h-llo"].endswith(f"/Makefile: obj-m names 'h@llo.o', {why}")
    assert found["na-me"].endswith(f"{why} (a dot is between a folder's name and a module's)") and found["gr-"].endswith(why)


def test_hidden_files_are_sources_too_but_for_what_tools_keep_there(tmp_path: Path) -> None:
    names = [".config", ".version", ".x.o.cmd", ".x.c.swp", ".git", ".x.o.d", ".tmp_1", ".#x.c"]
    put(tmp_path / "tree", Makefile="obj-m := x.o\n", x__c="")
    for name in names:
        (tmp_path / "tree" / name).write_text("")
    for folder in (".git", ".venv", ".tmp_versions"):
        (tmp_path / "tree/sub" / folder).mkdir(parents=True)
        (tmp_path / "tree/sub" / folder / "file").write_text("")
    copy = copied(tmp_path / "tree").folder
    assert sorted(path.name for path in copy.rglob("*")) == [".config", ".version", "Makefile", "sub", "x.c"]


def test_what_was_not_copied_is_known_of_each_module_of_its_folder(tmp_path: Path) -> None:
    put(tmp_path / "good", Makefile="obj-m := good.o\n", good__c="")
    put(tmp_path / "leaky", Makefile="obj-m := one.o two.o\n", one__c="", two__c="")
    (tmp_path / "leaky/notes.txt").symlink_to("/etc/passwd")
    found = {module.name: module.problem for module in discover(tmp_path)}
    assert found["good"] == "" and all("notes.txt leads out of the folder" in found[name] for name in ("one", "two"))


def test_rules_that_insist_on_an_option_of_the_kernel_can_be_read(tmp_path: Path) -> None:
    rules = (
        "ifndef CONFIG_NF_CONNTRACK\n$(error needs CONFIG_NF_CONNTRACK)\nendif\nobj-m := m.o\nobj-$(CONFIG_OTHER) += other.o\n"
    )
    assert names(put(tmp_path, Makefile=rules, m__c="")) == ["m"]
    (tmp_path / "Makefile").write_text("$(error not today)\nobj-m := m.o\n")
    with pytest.raises(LabError, match=r"cannot be read by make: .*not today"):
        names(tmp_path)
