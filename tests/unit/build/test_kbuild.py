from pathlib import Path

import pytest

from kmodlab.build.build_log import failed_modules, failure_reason, split_log, went_wrong
from kmodlab.build.kbuild import build
from kmodlab.build.modules import Part, SourceModule
from kmodlab.ground import sandbox
from kmodlab.ground.sandbox import Answer, Limits


def module(path: str, *objects: str, folder: Path = Path("/src")) -> SourceModule:
    return SourceModule(name=Path(path).name, part=Part(root=folder), path=path, objects=objects or (path,))


BATCH = [module("hello-1"), module("two"), module("both", "start", "stop")]


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("make[2]: *** [/usr/src/linux-headers-6.12/scripts/Makefile.build:234: /mnt/two.o] Error 1", ["two"]),
        ("make[4]: *** [/usr/src/linux-headers-7.3/scripts/Makefile.build:287: stop.o] Error 1", ["both"]),
        ('ERROR: modpost: "nowhere" [/mnt/hello-1.ko] undefined!', ["hello-1"]),
        ('ERROR: modpost: "nowhere" [hello-1.ko] undefined!', ["hello-1"]),
        ("ERROR: modpost: missing MODULE_LICENSE() in /mnt/two.o", ["two"]),
        ("make: *** [Makefile:250: __sub-make] Error 2", []),
        ("make[1]: *** [/usr/src/linux-headers-6.12/Makefile:1960: modpost] Error 2", []),
    ],
)
def test_kbuilds_word_on_who_broke_the_batch(line: str, broken: list[str]) -> None:
    assert [each.name for each in failed_modules(line, BATCH)] == broken


def test_objects_of_the_same_name_in_other_folders_are_told_apart_by_their_paths() -> None:
    batch = [module("a/hello"), module("b/hello"), module("c/big", "c/src/main", "c/src/hello")]
    log = "make[3]: *** [/usr/src/x/Makefile.build:9: /mnt/b/hello.o] Error 1\n"
    assert [each.path for each in failed_modules(log, batch)] == ["b/hello"]
    parts = split_log(f"  CC [M]  c/src/hello.o\nc/src/hello.c:1:1: error: x\n{log}", batch)
    assert "error: x" in parts["c/big"] and "Error 1" in parts["b/hello"] and parts["a/hello"].strip() == ""


def test_a_joint_log_is_given_to_those_it_speaks_of() -> None:
    log = """\
make: Entering directory '/usr/src/linux-headers-6.12'
  CC [M]  /mnt/hello-1.o
/mnt/hello-1.c:3:12: warning: 'unused' defined but not used [-Wunused-function]
    3 | static int unused(void) { return 1; }
  CC [M]  /mnt/start.o
In file included from /mnt/start.c:1:
/mnt/shared.h:9:1: warning: no previous prototype
  MODPOST /mnt/Module.symvers
WARNING: modpost: something of nobody's
  LD [M]  /mnt/two.ko
"""
    parts = split_log(log, BATCH)
    assert "unused" in parts["hello-1"] and "shared.h" not in parts["hello-1"]
    assert "shared.h:9:1: warning" in parts["both"]
    assert parts["two"].strip() == "LD [M]  /mnt/two.ko"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("/mnt/two.c:6:2: error: #error broken\nmake: *** x", "two.c:6:2: error: #error broken"),
        ('ERROR: modpost: "gone" [/mnt/two.ko] undefined!\nmake: *** x', 'ERROR: modpost: "gone" [two.ko] undefined!'),
        ("make: *** No rule to make target", "make: *** No rule to make target"),
        ("/bin/sh: 1: rustc: not found\nmake[2]: *** [x] Error 127", "/bin/sh: 1: rustc: not found"),
        ("! Error: no iptables\nkmodlab: error: PRE_BUILD of dkms.conf ends with status 1", "! Error: no iptables"),
        ("a/Module.symvers: No such file or directory\nmake: *** x", "a/Module.symvers: No such file or directory"),
        ("/mnt/.dkms/toy/1.0/build/src/a.c:1:2: error: x", "src/a.c:1:2: error: x"),
        ("", "the Makefile built no two.ko"),
    ],
)
def test_the_reason_is_the_compilers_own_first_line(log: str, reason: str) -> None:
    assert failure_reason(log, "two") == reason


@pytest.mark.parametrize(("cross", "word"), [("aarch64-linux-gnu-", ["CROSS_COMPILE=aarch64-linux-gnu-"]), ("", [])])
def test_kbuild_is_told_of_another_architecture_and_of_no_other(
    cross: str, word: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(root: Path, command: list[str], *, work: Path, read_only: dict[Path, Path], limits: Limits) -> Answer:
        commands.append(command)
        return Answer(1, "make: *** not today")

    monkeypatch.setattr(sandbox, "run", run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "src").mkdir()
    (tmp_path / "src/Makefile").write_text("obj-m := two.o\n")
    answer = build(tmp_path, "root", "6.12", [module("two", folder=tmp_path / "src")], cross=cross)
    assert not answer["two"].built.ok and answer["two"].built.reason == "make: *** not today"
    (command,) = commands
    assert [each for each in command[command.index("make") :] if each.startswith("CROSS_COMPILE=")] == word
    assert command[-1] == "modules" and "M=/mnt" in command


def test_who_lacks_anothers_symbols_is_built_beside_it_when_the_batch_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """make names the header that broke the batch, and no module: each is built alone, then those that lack a symbol once more."""
    asked: list[set[str]] = []

    def run(root: Path, command: list[str], *, work: Path, limits: Limits, read_only: dict[Path, Path] | None = None) -> Answer:
        if "env" not in command:  # strip
            return Answer(0, "")
        words = next(word for word in command if word.startswith("KMODLAB_ONLY=")).removeprefix("KMODLAB_ONLY=").split()
        objects = {word.removeprefix("./").removesuffix(".o") for word in words}
        asked.append(objects)
        if "broken" in objects:
            return Answer(2, "make[2]: *** [header.h] Error 127")
        if "spoke" in objects and "hub" not in objects:
            return Answer(2, 'ERROR: modpost: "hub_use" [spoke.ko] undefined!')
        if "lost" in objects:
            return Answer(2, 'ERROR: modpost: "nobodys" [lost.ko] undefined!')
        for name in objects:
            (work / f"{name}.ko").write_bytes(b"\x7fELF")
        return Answer(0, "".join(f"  LD [M]  /mnt/{name}.ko\n" for name in objects))

    monkeypatch.setattr(sandbox, "run", run)
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "Makefile").write_text("obj-m := hub.o spoke.o broken.o lost.o\n")
    modules = [module(name, folder=folder) for name in ("hub", "spoke", "broken", "lost")]
    decided: list[str] = []
    results = build(tmp_path, "root", "6.12", modules, lambda result: decided.append(result.module.name))
    assert {name: result.built.ok for name, result in results.items()} == {
        "hub": True,
        "spoke": True,
        "broken": False,
        "lost": False,
    }
    assert '"nobodys"' in results["lost"].built.reason and sorted(decided) == ["broken", "hub", "lost", "spoke"]
    assert {"hub", "spoke"} in asked


def test_who_is_built_without_its_trees_others_gets_those_it_needs_and_no_cache_accuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONLY=spoke: hub is built for it, and is nobody's cell; a symbol that nobody has stays a fault."""

    def run(root: Path, command: list[str], *, work: Path, limits: Limits, read_only: dict[Path, Path] | None = None) -> Answer:
        if "env" not in command:  # strip
            return Answer(0, "")
        words = next(word for word in command if word.startswith("KMODLAB_ONLY=")).removeprefix("KMODLAB_ONLY=").split()
        objects = {word.removeprefix("./").removesuffix(".o") for word in words}
        for name, symbol in (("spoke", "hub"), ("lost", "nobody")):
            if name in objects and symbol not in objects:
                return Answer(2, f'ERROR: modpost: "{symbol}_use" [{name}.ko] undefined!')
        for name in objects:
            (work / f"{name}.ko").write_bytes(b"\x7fELF")
        return Answer(0, "".join(f"  LD [M]  /mnt/{name}.ko\n" for name in objects))

    monkeypatch.setattr(sandbox, "run", run)
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "Makefile").write_text("obj-m := hub.o spoke.o lost.o\n")
    hub, spoke, lost = (module(name, folder=folder) for name in ("hub", "spoke", "lost"))
    for _ in range(2):  # built, then found in the cache
        told: list[tuple[str, bool]] = []
        build(tmp_path, "root", "6.12", [spoke], lambda result: told.append((result.module.name, result.built.ok)), beside=[hub])  # noqa: B023
        assert told == [("spoke", True)]
    assert not build(tmp_path, "root", "6.12", [lost], beside=[hub, spoke])["lost"].built.ok
    alone = build(tmp_path, "other", "6.12", [spoke], beside=[lost])["spoke"]
    assert '"hub_use"' in alone.built.reason
    assert build(tmp_path, "root", "6.12", [hub, spoke, lost])["spoke"].built.ok


def test_folders_beside_each_other_get_each_others_symbols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a part of its own: who lacks a symbol is built again with what the others export, and is decided only then."""
    told: list[tuple[str, bool]] = []
    needs = {"hub": "", "mid": "hub", "end": "mid", "lost": "nobody"}

    def run(root: Path, command: list[str], *, work: Path, limits: Limits, read_only: dict[Path, Path] | None = None) -> Answer:
        if "env" not in command:  # strip
            return Answer(0, "")
        name = (work / "Makefile").read_text().split()[2].removesuffix(".o")
        lists = [next(iter(read_only or {})) / "Module.symvers"]
        known = "".join(path.read_text() for path in lists if path.exists())
        if needs[name] and f"\t{needs[name]}_use\t" not in known:
            return Answer(2, f'ERROR: modpost: "{needs[name]}_use" [{name}.ko] undefined!')
        (work / f"{name}.ko").write_bytes(b"\x7fELF")
        (work / "Module.symvers").write_text(f"0x00000000\t{name}_use\t{name}\tEXPORT_SYMBOL_GPL\t\n")
        return Answer(0, f"  LD [M]  /mnt/{name}.ko\n")

    monkeypatch.setattr(sandbox, "run", run)
    modules = []
    for name in ("end", "lost", "mid", "hub"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Makefile").write_text(f"obj-m := {name}.o\n")
        modules.append(module(name, folder=tmp_path / name))
    for _ in range(2):  # built, then found in the cache
        results = build(tmp_path, "root", "6.12", modules, lambda result: told.append((result.module.name, result.built.ok)))
        assert {name: result.built.ok for name, result in results.items()} == {
            "end": True,
            "lost": False,
            "mid": True,
            "hub": True,
        }
        assert len(told) == 4 and '"nobody_use"' in results["lost"].built.reason
        told.clear()


def test_a_file_that_was_looked_for_in_vain_is_no_error() -> None:
    assert not went_wrong("cat: /etc/x: No such file or directory\nsh: git: not found\n  LD [M]  a.ko\n")
    assert went_wrong("a.c:1:1: error: x") and went_wrong("make: *** [x] Error 1") and went_wrong("killed: it did not end")


def test_a_package_is_built_once_and_fails_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[list[str]] = []

    def run(root: Path, command: list[str], *, work: Path, read_only: dict[Path, Path], limits: Limits) -> Answer:
        runs.append(command)
        said = "/mnt/.dkms/toy/1/build/a.c:1:1: error: x\nmake[1]: *** [Makefile:1: /mnt/.dkms/toy/1/build/a.o] Error 1\n"
        return Answer(2, f"{said}kmodlab: error: MAKE of dkms.conf ends with status 2\n")

    monkeypatch.setattr(sandbox, "run", run)
    part = Part(root=tmp_path, dkms=True, plain=False)
    modules = [SourceModule(name=name, part=part, path=name, objects=(name,)) for name in ("a", "b")]
    (tmp_path / "dkms.conf").write_text("")
    results = build(tmp_path, "root", "6.12", modules)
    assert len(runs) == 1 and {result.built.reason for result in results.values()} == {"a.c:1:1: error: x"}
    assert not any(result.built.left_out for result in results.values())


def test_a_package_that_is_not_for_a_kernel_is_left_out_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    why = 'dkms.conf: BUILD_EXCLUSIVE_KERNEL="^5" does not match 6.12'
    monkeypatch.setattr(sandbox, "run", lambda *_, **__: Answer(77, f"kmodlab: excluded: {why}\n"))
    package = SourceModule(name="a", part=Part(root=tmp_path, dkms=True, plain=False), path="a", objects=("a",))
    built = build(tmp_path, "root", "6.12", [package])["a"].built
    assert (built.ok, built.left_out, built.reason) == (False, True, why)
