"""The catalog: what is read, and that each fault in it is named with its key and its mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmodlab.ground.errors import LabError
from kmodlab.plan.catalog import Catalog, Module, line_of, load_catalog, merged, skips, with_needs
from kmodlab.results.contract import Stage
from kmodlab.results.folder import Expected


def write(folder: Path, catalog: str, *sources: str) -> Path:
    (folder / "catalog.yml").write_text(catalog)
    for source in sources:
        (folder / source).parent.mkdir(exist_ok=True)
        (folder / source).write_text("")
    return folder


def fault(folder: Path) -> str:
    with pytest.raises(LabError) as caught:
        load_catalog(folder)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(str(folder / "catalog.yml"))
    return text.removeprefix(f"{folder / 'catalog.yml'}: ")


FULL = r"""
schema: 1
modules:
  vinput: {}
  vkbd:
    chapter: Virtual Input Device Driver
    needs: [vinput]
    at_load: ['key\w+ ready']
    paths: [/dev/vinput0]
    programs: [other/reader.c]
    arches: [x86_64]
    kernels: {from: "5.10", to: "7.3", reason: "not ported yet"}
    hardware: [gpio]
    limit: 60
    expect:
      - {from: "6.15", arches: [x86_64], verdict: fail, stage: build, reason: objtool}
  startstop:
    source: [start.c, stop.c]
  hello-1:
    source: hello-1.c
"""
SOURCES = ("vinput.c", "vkbd.c", "other/reader.c", "start.c", "stop.c", "hello-1.c")


def test_a_whole_catalog_is_read(tmp_path: Path) -> None:
    modules = load_catalog(write(tmp_path, FULL, *SOURCES)).modules
    assert list(modules) == ["vinput", "vkbd", "startstop", "hello-1"]
    assert modules["vinput"] == Module(name="vinput", source=["vinput.c"])
    assert modules["startstop"].source == ["start.c", "stop.c"]
    assert modules["hello-1"].source == ["hello-1.c"]
    assert modules["vkbd"].limit == 60 and modules["vkbd"].at_load == [r"key\w+ ready"]


def test_no_catalog_is_an_empty_one(tmp_path: Path) -> None:
    assert load_catalog(tmp_path).modules == {}
    with pytest.raises(LabError, match="no folder"):
        load_catalog(tmp_path / "nowhere")


ONE = "schema: 1\nmodules:\n  a: {%s}\n"


@pytest.mark.parametrize(
    ("catalog", "expected"),
    [
        ("modules: [", "line 1: not valid YAML"),
        ("schema: 1\nmodules:\n  a: {}\n  a: {}\n", "line 4: not valid YAML: the key 'a' is there twice"),
        ("", "the file: "),
        ("modules: {}", "schema: is missing"),
        ("schema: 2", "schema: "),
        ("schema: 1\nmodule: {}", "module: unknown key (do you mean 'modules'?)"),
        (ONE % "at_loads: [x]", "modules.a.at_loads: unknown key (do you mean 'at_load'?)"),
        (ONE % "name: b", "modules: a.name: unknown key"),
        (ONE % "at_load: x", 'modules.a.at_load: should be a valid array, not "x"'),
        (ONE % "at_load: ['fine', '(']", "modules.a.at_load.1: no regular expression"),
        (ONE % "at_unload: ['*']", "modules.a.at_unload.0: no regular expression"),
        (ONE % "any_order: 1", "modules.a.any_order: should be a valid boolean, not 1"),
        (ONE % "limit: 0", "modules.a.limit: should be greater than 0, not 0"),
        (ONE % "limit: soon", 'modules.a.limit: should be a valid number, not "soon"'),
        (
            ONE % "arches: [amd64]",
            "modules.a.arches.0: should be 'x86_64', 'arm64', 'armhf' or 'um', not \"amd64\"",
        ),
        (ONE % "arches: []", "modules.a.arches: "),
        (ONE % "paths: [dev/x]", "modules.a.paths.0: "),
        (ONE % "kernels: {from: 5.10, reason: x}", "modules.a.kernels.from: a kernel line belongs in quotes"),
        (ONE % "kernels: {from: '6.1'}", "modules.a.kernels.reason: is missing"),
        (
            ONE % "kernels: {from: '6.10', to: '6.9', reason: x}",
            "modules.a.kernels: from 6.10 is after to 6.9",
        ),
        (ONE % "expect: [{stage: compile, reason: x}]", "modules.a.expect.0.stage: should be 'build'"),
        (
            ONE % "expect: [{stages: build, reason: x}]",
            "modules.a.expect.0.stage: is missing",
        ),
        (
            ONE % "expect: [{stage: build, reason: x, since: '6.1'}]",
            "modules.a.expect.0.since: unknown key; known here: from to arches verdict stage reason",
        ),
        (ONE % "needs: [aa]", "modules.a.needs: no module 'aa' (do you mean 'a'?)"),
        (ONE % "needs: [a]", "modules.a.needs: a needs a"),
        (
            "schema: 1\nmodules:\n  a: {needs: [b]}\n  b: {source: a.c, needs: [a]}\n",
            "needs: a needs b needs a; break the circle",
        ),
        (ONE % "source: b.c", "modules.a.source: there is no file"),
        (ONE % "programs: [other/b.c]", "modules.a.programs: there is no file"),
        ("schema: 1\nmodules:\n  ../a: {}\n", "modules.../a"),
    ],
)
def test_each_fault_is_named_with_its_key(tmp_path: Path, catalog: str, expected: str) -> None:
    text = fault(write(tmp_path, catalog, "a.c"))
    assert expected in text


def test_kernel_lines_compare_as_numbers() -> None:
    assert line_of("5.10") > line_of("5.9")
    assert line_of("6.12.107+deb13-amd64") == line_of("6.12")
    with pytest.raises(ValueError, match="no kernel version"):
        line_of("trixie")


@pytest.fixture
def vkbd(tmp_path: Path) -> Module:
    return load_catalog(write(tmp_path, FULL, *SOURCES)).modules["vkbd"]


@pytest.mark.parametrize(
    ("version", "arch", "offers", "reason"),
    [
        ("5.10", "x86_64", {"gpio"}, None),
        ("7.3", "x86_64", {"gpio", "keyboard"}, None),
        ("5.9", "x86_64", {"gpio"}, "not ported yet"),
        ("7.10", "x86_64", {"gpio"}, "not ported yet"),
        ("6.12", "arm64", {"gpio"}, "not for arm64: the catalog says x86_64 only"),
        ("6.12", "x86_64", set(), "needs gpio, which this host does not offer"),
    ],
)
def test_a_skip_has_its_reason(vkbd: Module, version: str, arch: str, offers: set[str], reason: str | None) -> None:
    assert vkbd.skip_reason(version, arch, offers) == reason


@pytest.mark.parametrize(
    ("version", "arch", "found"),
    [("6.15", "x86_64", True), ("6.9", "x86_64", False), ("6.15", "arm64", False)],
)
def test_an_expectation_holds_in_its_range(vkbd: Module, version: str, arch: str, found: bool) -> None:
    expected = Expected(stage=Stage.BUILD, reason="objtool")
    assert vkbd.expectation(version, arch) == (expected if found else None)


CHAIN = """
schema: 1
modules:
  c: {needs: [b]}
  d:
  b: {needs: [a]}
  a: {hardware: [gpio]}
"""


@pytest.fixture
def chain(tmp_path: Path) -> list[Module]:
    catalog = load_catalog(write(tmp_path, CHAIN, "a.c", "b.c", "c.c", "d.c", "e.c"))
    return catalog.for_modules(["a", "b", "c", "d", "e", "f"], tmp_path)


def test_needs_come_first_and_else_the_order_stays(chain: list[Module]) -> None:
    assert [module.name for module in chain] == ["a", "b", "c", "d", "e", "f"]
    assert chain[4] == Module(name="e", source=["e.c"])
    assert chain[5] == Module(name="f"), "built from other files, which only kbuild knows"


def test_the_catalogs_order_is_kept(tmp_path: Path) -> None:
    catalog = load_catalog(write(tmp_path, FULL, *SOURCES))
    names = sorted([*catalog.modules, "extra"])
    ordered = [module.name for module in catalog.for_modules(names, tmp_path)]
    assert ordered == ["vinput", "vkbd", "startstop", "hello-1", "extra"]


def test_an_entry_that_nothing_builds_is_a_fault(tmp_path: Path) -> None:
    catalog = load_catalog(write(tmp_path, ONE % "", "a.c"))
    with pytest.raises(LabError, match=r"modules\.a: no Makefile builds it"):
        catalog.for_modules(["b"], tmp_path)


def test_choosing_a_module_brings_what_it_needs(chain: list[Module]) -> None:
    assert [module.name for module in with_needs(["c"], chain)] == ["a", "b", "c"]
    with pytest.raises(LabError, match="no module 'g'"):
        with_needs(["g"], chain)


def test_what_needs_a_skipped_module_is_skipped(chain: list[Module]) -> None:
    lacking = "needs gpio, which this host does not offer"
    assert skips(chain, "6.12", "x86_64", set()) == {
        "a": lacking,
        "b": f"needs a: {lacking}",
        "c": f"needs b: needs a: {lacking}",
    }
    assert skips(chain, "6.12", "x86_64", {"gpio"}) == {}


def test_an_editor_gets_the_keys_under_their_own_names() -> None:
    schema = Catalog.model_json_schema()
    assert set(schema["$defs"]["Kernels"]["properties"]) == {"from", "to", "reason"}


def test_a_catalog_of_aliases_is_refused_before_it_grows(tmp_path: Path) -> None:
    lines = ["schema: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "catalog.yml").write_text("\n".join(lines))
    with pytest.raises(LabError, match=r"catalog.yml: line 3: not valid YAML: aliases \(\*name\) are not read"):
        load_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("# " + "x" * (2 << 20), "larger than 1 MiB"),
        ("modules: {a: {programs: ../x.c}}", "leads out"),
    ],
)
def test_a_catalog_that_would_hurt_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "catalog.yml").write_text(
        text if text.startswith(("[", "#")) else f"schema: 1\n{text.replace('../x.c', '[../x.c]')}\n"
    )
    with pytest.raises(LabError, match=says) as problem:
        load_catalog(tmp_path)
    assert "\n" not in str(problem.value)


def test_a_catalog_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret: [")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/catalog.yml").symlink_to("../secret")
    with pytest.raises(LabError, match="it is a link"):
        load_catalog(tmp_path / "folder")


def test_what_make_is_told_is_words_or_a_list_of_them(tmp_path: Path) -> None:
    assert load_catalog(write(tmp_path, "schema: 1\nmake: CONFIG_FOO=m 'NOTE=two words'\n")).make == [
        "CONFIG_FOO=m",
        "NOTE=two words",
    ]
    assert load_catalog(write(tmp_path, "schema: 1\nmake: [CONFIG_FOO=m]\n")).make == ["CONFIG_FOO=m"]
    assert fault(write(tmp_path, "schema: 1\nmake: M=/tmp\n")).startswith("make.0: 'M=/tmp' says where or how make builds")
    assert "make.0" in fault(write(tmp_path, "schema: 1\nmake: modules_install\n"))


def test_the_catalogs_of_several_folders_are_one(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        catalog = "schema: 1\nmake: X=1\nmodules:\n  hub: {}\n  spoke: {needs: [hub]}\n"
        write(
            tmp_path / folder,
            catalog + f"  {folder}-own: {{programs: [use.c]}}\n",
            "hub.c",
            "spoke.c",
            f"{folder}-own.c",
            "use.c",
        )
    one = merged({folder: load_catalog(tmp_path / folder) for folder in ("a", "b")})
    assert one.make == ["X=1"] and list(one.modules) == ["a.hub", "a.spoke", "a-own", "b.hub", "b.spoke", "b-own"]
    assert (one.modules["b.spoke"].name, one.modules["b.spoke"].needs) == ("b.spoke", ["b.hub"])
    assert (one.modules["a-own"].programs, one.modules["a.hub"].source) == (["a/use.c"], ["a/hub.c"])
