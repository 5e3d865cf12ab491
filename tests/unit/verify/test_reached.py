"""Own tests on a host that SSH reaches, in an ordinary pytest, by the entry point: on a stand-in for the host."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from standin import StandIn

from kmodlab.verify import reached  # noqa: F401 - pytester forgets what its pytests import, and Testinfra's classes with it

Pytest = Callable[..., tuple[int, str]]
pytest_plugins = ["pytester"]
ONE = "modules: {one: {}}"
OOPS = "printk 'BUG: kernel NULL pointer dereference, address: 0000000000000000'"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    machine = StandIn(tmp_path / "machine")
    monkeypatch.setenv("PATH", f"{machine.make()}:{os.environ['PATH']}")
    return machine


@pytest.fixture
def run(machine: StandIn, pytester: pytest.Pytester) -> Pytest:
    """Runs tests of this text, of a project with this catalog, as anybody would; pytest's status, and what it says."""
    tests = pytester.mkdir("tests")
    for name in ("one", "other", "third"):
        (pytester.path / f"{name}.c").touch()

    def run(text: str, *words: str, catalog: str = ONE, hosts: str = "ssh://board") -> tuple[int, str]:
        if catalog:
            (pytester.path / "catalog.yml").write_text(f"schema: 1\n{catalog}\n")
        (tests / "test_one.py").write_text(f"import pytest\npytestmark = pytest.mark.module('one')\n{dedent(text)}")
        words = ("-rs", "-p", "no:cacheprovider", "-p", "no:labgrid", *([f"--hosts={hosts}"] if hosts else []), *words)
        answer = pytester.runpytest_inprocess(*words, "tests")
        return answer.ret, f"{answer.stdout}\n{answer.stderr}"

    return run


USE = """
def test_use(loaded, guest, host):
    assert loaded.is_loaded() and guest.release == "6.12.1-standin"
    assert host.check_output("echo %s", "a b") == "a b"
"""


def test_they_get_what_they_get_in_a_run(machine: StandIn, run: Pytest) -> None:
    for name in ("one", "other", "third"):
        machine.install(name)
        machine.module(name, insmod=f"printk '{name}: hello'; echo $* >>loaded")
    (machine.folder / "one.depends").write_text("third,in_tree\n")
    (machine.folder / "third.softdep").write_text("pre: other post: nobody\n")
    (machine.folder / "uses.insmod").touch()
    status, said = run(
        """
        def test_log(module, guest, host):
            mark = guest.log.mark()
            module.load("b=2")
            guest.log.expect("one: hello", mark)
            assert host.run("exit 3").rc == 3
            module.unload()

        def test_loaded(loaded):
            assert loaded.is_loaded() and loaded.in_tree == ["in_tree"]
            assert [need.name for need in loaded.needs] == ["other", "third"]

        def test_session(guest):
            session = guest.spawn("echo open; read x; echo got $x")
            session.expect("open")
            session.send("it\\n")
            session.expect("got it")

        def test_wires(gpio):
            pass
        """,
        catalog="modules: {one: {parameters: a=1}, third: {}, other: {}}",
    )
    assert status == 0 and "3 passed, 1 skipped" in said, said
    assert "no GPIO lines that a test could drive: name them with --kmodlab-gpio" in said
    assert not list((machine.folder / "sys/module").glob("one")), "left loaded"
    loaded = (machine.folder / "loaded").read_text().split("\n")
    assert [Path(each.split()[0]).stem for each in loaded[:3]] == ["other", "third", "one"] and loaded[2].endswith("b=2"), loaded


GONE = "rm lib/modules/*/updates/one.ko"
NEAR = "d=lib/modules/x/kernel; mkdir -p $d; touch $d/one.ko; echo $PWD/$d/one.ko >one.elsewhere"


@pytest.mark.parametrize(("suffix", "pack"), [("xz", lzma.compress), ("gz", gzip.compress)])
def test_a_packed_module_is_unpacked(machine: StandIn, run: Pytest, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    packed = machine.folder / f"lib/one.ko.{suffix}"
    packed.parent.mkdir()
    packed.write_bytes(pack(b"all of it"))
    (machine.folder / "one.elsewhere").write_text(f"{packed}\n")
    status, said = run("def test_file(module, guest):\n    assert guest.sh(f'cat {module.ko}').stdout == 'all of it'")
    assert status == 0 and "1 passed" in said, said
    packed.write_bytes(b"no such thing")
    status, said = run(USE)
    assert status == 1 and "1 error" in said, said


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        pytest.param("touch down", "ssh://board cannot be reached: ssh: connect to host board: No route to host", id="down"),
        pytest.param("echo 'echo 1000' >bin/id", "and this is user 1000: give --sudo, or log in as root", id="no root"),
        pytest.param("echo 'echo riscv64' >bin/uname", "kmodlab knows no machine riscv64", id="another machine"),
        pytest.param(GONE, r"one is not installed on ssh://board \(modinfo: ERROR: Mod", id="missing"),
        pytest.param(f"{GONE}; echo '(builtin)' >one.elsewhere", r"\(it is \(builtin\)\)", id="built in"),
        pytest.param(f"{GONE}; {NEAR}", "is the kernel's own .*, and not the project's", id="the kernel's own"),
        pytest.param(f'echo "{OOPS}" >>one.insmod', "one on ssh://board: oops: BUG: kernel NULL", id="an oops"),
        pytest.param("echo 'taint 512' >>one.rmmod", "one on ssh://board: taint W", id="a taint"),
        pytest.param("echo 'refuse busy; exit 1' >one.rmmod", "ERROR: busy", id="it stays"),
        pytest.param("echo die >>one.insmod", "connection was lost", id="it dies"),
    ],
)
def test_what_was_not_there_or_not_clean_is_no_pass(machine: StandIn, run: Pytest, prepare: str, reason: str) -> None:
    machine.install("one")
    machine.module("one")
    subprocess.run(["sh", "-ec", prepare], cwd=machine.folder, check=True)
    status, said = run(USE)
    assert status == 1 and re.search(reason, said), said


@pytest.mark.parametrize(
    ("text", "words", "catalog", "status", "reason"),
    [
        pytest.param("def helper(): pass", (), ONE, 5, "no tests ran", id="no test"),
        pytest.param("import nothing_like_it", (), ONE, 2, "No module named 'nothing_like_it'", id="import"),
        pytest.param(USE, ("--kmodlab-only=one two",), ONE, 4, "--kmodlab-only: no test is about two", id="only"),
        pytest.param(USE, ("--kmodlab-gpio=nowhere.yml",), ONE, 4, "--kmodlab-gpio=nowhere.yml: ", id="wiring"),
        pytest.param(USE, (), "modules: {one: {paths: 1}}", 1, r"catalog.yml: modules.one.paths", id="catalog"),
        pytest.param(USE, (), "", 1, "no catalog.yml above it", id="no catalog"),
        pytest.param("@pytest.mark.module()\ndef test_none(module): pass", (), ONE, 1, "is about no module", id="no mark"),
    ],
)
def test_what_cannot_be_run_is_no_pass(
    run: Pytest, machine: StandIn, text: str, words: tuple[str, ...], catalog: str, status: int, reason: str
) -> None:
    machine.install("one")
    found, said = run(text, *words, catalog=catalog)
    assert found == status and re.search(reason, said), said


def test_a_catalogs_limits_are_skips_with_its_reason(machine: StandIn, run: Pytest) -> None:
    machine.install("one")
    machine.module("one")
    for catalog, words, reason in (
        ("modules: {one: {arches: [arm64]}}", (), "not for x86_64: the catalog says arm64 only"),
        ("modules: {one: {hardware: [keyboard]}}", (), "needs keyboard, which this host does not offer"),
        ("modules: {one: {hardware: [gpio]}}", ("--kmodlab-offers=keyboard",), "needs gpio, which this host does not offer"),
        ("modules: {one: {kernels: {to: '6.1', reason: too new}}}", (), "too new"),
    ):
        status, said = run(USE, *words, catalog=catalog)
        assert status == 0 and "1 skipped" in said and reason in said, said
    status, said = run(USE, "--kmodlab-offers=keyboard", catalog="modules: {one: {hardware: [keyboard]}}")
    assert status == 0 and "1 passed" in said, said


def test_nobodys_own_machine_is_used_by_mistake(run: Pytest) -> None:
    """Testinfra takes this machine where nobody names another."""
    status, said = run(USE, hosts="")
    assert status == 1 and "run on hosts that SSH reaches: --hosts=ssh://NAME" in said, said


def test_a_pytest_without_such_tests_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test_else.py").write_text(
        "import sys\nimport pytest\n@pytest.mark.module('x')\ndef test_else():\n"
        "    assert not [name for name in sys.modules if name.startswith('kmodlab.guest')]\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:labgrid", "-c", "/dev/null", "."]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stdout
