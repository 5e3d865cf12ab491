"""Bad input: one line that names the thing and the mend, exit status 2, no traceback, and nothing left running."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
import standin
from click.testing import CliRunner
from filelock import FileLock
from own_key import openssl, renewed
from rich.console import Console

from kmodlab import cli
from kmodlab.commands import matrix
from kmodlab.ground.cache import REPOSITORY, cache_dir
from kmodlab.results.contract import Kernel, ModuleInfo, Stage, Verdict
from kmodlab.results.folder import Planned, Run


def kmodlab(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kmodlab", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "Makefile").write_text("obj-m := one.o\n")
    (folder / "one.c").write_text("")
    return folder


def refused(answer: subprocess.CompletedProcess[str], *words: str) -> None:
    assert answer.returncode == 2, answer.stdout + answer.stderr
    (line,) = answer.stderr.strip().splitlines()
    assert line.startswith("kmodlab: ")
    for word in words:
        assert word in line, line


def test_an_unknown_kernel_is_named_with_those_there_are(modules: Path) -> None:
    refused(kmodlab("matrix", "--kernels", "4.4", "--modules", str(modules)), "'4.4'", "6.12-x86_64")


def test_no_folder(tmp_path: Path) -> None:
    refused(kmodlab("matrix", "--modules", str(tmp_path / "gone")), "gone", "is no folder")


def test_a_folder_without_a_module(tmp_path: Path) -> None:
    refused(kmodlab("matrix", "--modules", str(tmp_path)), str(tmp_path), "holds no module")


def test_a_module_that_is_not_there(modules: Path) -> None:
    refused(kmodlab("matrix", "--modules", str(modules), "--only", "won"), "ONLY", "'won'", "'one'")


def test_what_is_no_parcel_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "parcel").write_text("nothing of ours")
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    refused(kmodlab("cache", "import", str(tmp_path / "parcel"), **home), "is no parcel")
    refused(kmodlab("cache", "import", str(tmp_path / "gone"), **home), "does not exist")
    refused(kmodlab("cache", "export", str(tmp_path / "new"), "4.4", **home), "no kernel '4.4'")


@pytest.mark.parametrize("shard", ["0/5", "6/5", "2", "a/b", "-1/5"])
def test_what_is_no_shard_is_refused(modules: Path, shard: str) -> None:
    refused(kmodlab("matrix", "--modules", str(modules), f"--shard={shard}"), f"'{shard}' is no shard", "N/M")


def test_a_balance_is_for_shards_and_must_be_a_run(modules: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema": 7}')
    balance = ("--modules", str(modules), "--balance", str(tmp_path / "results.json"))
    refused(kmodlab("matrix", *balance), "--balance", "ask for one")
    refused(kmodlab("matrix", *balance, "--shard", "1/2"), str(tmp_path / "results.json"), "schema")
    refused(kmodlab("matrix", "--modules", str(modules), "--shard", "1/2", "--balance", str(modules)), "is no run folder")


@pytest.mark.parametrize(
    ("catalog", "words"),
    [
        ("schema: 1\nmodules:\n  one: {limitt: 3}\n", ("modules.one", "limitt", "limit")),
        ("schema: 1\nmodules:\n  two: {}\n", ("two",)),
        ("schema: [\n", ("YAML",)),
    ],
)
def test_a_broken_catalog_names_file_and_key(modules: Path, catalog: str, words: tuple[str, ...]) -> None:
    (modules / "catalog.yml").write_text(catalog)
    refused(kmodlab("matrix", "--modules", str(modules)), "catalog.yml", *words)


def test_too_few_loads_to_tell_a_loss(modules: Path) -> None:
    refused(kmodlab("matrix", "--modules", str(modules), "--stress", "10"), "STRESS=10", "100 or more")


def test_kernels_that_make_no_allocation_fail(modules: Path) -> None:
    answer = kmodlab("matrix", "--modules", str(modules), "--kernels", "6.12-x86_64", "--faults")
    refused(answer, "FAULTS=1", "none of these kernels", "um-6.12")


def test_no_network_and_nothing_cached(modules: Path) -> None:
    nowhere = "http://127.0.0.1:9/debian"
    answer = kmodlab("matrix", "--modules", str(modules), KMODLAB_MIRROR=nowhere, KMODLAB_SECURITY_MIRROR=nowhere)
    refused(answer, "127.0.0.1:9", "check the network")


def test_a_second_run_at_the_same_time(modules: Path) -> None:
    with FileLock(cache_dir() / "run.lock"):
        refused(kmodlab("matrix", "--modules", str(modules)), "another run", "XDG_CACHE_HOME")


def test_a_cache_that_cannot_be_written(modules: Path) -> None:
    refused(kmodlab("matrix", "--modules", str(modules), XDG_CACHE_HOME="/proc/nowhere"), "/proc/nowhere", "XDG_CACHE_HOME")


def own(tmp_path: Path) -> dict[str, str]:
    private, pem = openssl(tmp_path)
    return {"KMODLAB_SIGNING_KEY": str(private), "KMODLAB_SIGNING_CERTIFICATE": str(pem)}


def test_a_signing_key_without_its_certificate(modules: Path, tmp_path: Path) -> None:
    refused(
        kmodlab("matrix", "--modules", str(modules), KMODLAB_SIGNING_KEY=str(tmp_path)), "KMODLAB_SIGNING_CERTIFICATE", "set both"
    )


def test_a_signing_key_that_does_not_match(modules: Path, tmp_path: Path) -> None:
    given = own(tmp_path)
    openssl(tmp_path, name="other")
    given["KMODLAB_SIGNING_CERTIFICATE"] = str(tmp_path / "other.pem")
    refused(kmodlab("matrix", "--modules", str(modules), **given), "own.key", "does not match", "other.pem")


def test_a_signing_key_that_others_can_read(modules: Path, tmp_path: Path) -> None:
    given = own(tmp_path)
    (tmp_path / "own.key").chmod(0o644)
    refused(kmodlab("matrix", "--modules", str(modules), **given), "own.key", "chmod 600")


def test_a_wrong_passphrase_is_not_repeated(modules: Path, tmp_path: Path) -> None:
    openssl(tmp_path, "-passout", "pass:right")
    given = {"KMODLAB_SIGNING_KEY": str(tmp_path / "own.key"), "KMODLAB_SIGNING_CERTIFICATE": str(tmp_path / "own.pem")}
    given["KMODLAB_SIGNING_PASSPHRASE"] = words = "sesame"  # noqa: S105 a wrong one
    answer = kmodlab("matrix", "--modules", str(modules), **given)
    refused(answer, "own.key", "passphrase is wrong")
    assert words not in answer.stdout + answer.stderr


def test_an_expired_certificate(modules: Path, tmp_path: Path) -> None:
    given = own(tmp_path)
    renewed(tmp_path / "own.key", tmp_path / "own.pem", -30, -1)
    refused(kmodlab("matrix", "--modules", str(modules), **given), "own.pem", "expired on", "make a new key")


def test_a_certificate_that_soon_ends_is_warned_of(modules: Path, tmp_path: Path) -> None:
    given = own(tmp_path)
    renewed(tmp_path / "own.key", tmp_path / "own.pem", -30, 29)
    answer = kmodlab("matrix", "--kernels", "4.4", "--modules", str(modules), **given)
    refused(answer, "'4.4'")
    assert "warning: certificate" in answer.stdout
    assert "29 days" in answer.stdout


def test_a_token_that_is_not_there(modules: Path, tmp_path: Path) -> None:
    given = {**own(tmp_path), "KMODLAB_SIGNING_KEY": "pkcs11:token=nobody;object=none"}
    refused(kmodlab("matrix", "--modules", str(modules), **given), "pkcs11:token=nobody;object=none")


def test_a_kernel_that_has_no_secure_boot(modules: Path, tmp_path: Path) -> None:
    refused(kmodlab("matrix", "--secureboot", "--kernels", "6.12-armhf", "--modules", str(modules)), "6.12-armhf")


def test_a_report_of_no_run(tmp_path: Path) -> None:
    refused(kmodlab("report", str(tmp_path)), str(tmp_path))


def test_a_report_for_programs_is_the_results(tmp_path: Path) -> None:
    run = Run.create(tmp_path)
    run.plan(
        [Kernel(id="6.12", arch="x86_64")], [ModuleInfo(name="one", source="", sha256="")], [Planned(kernel="6.12", module="one")]
    )
    run.record("6.12", "one", Stage.BUILD, Verdict.FAIL, "no such header")
    answer = kmodlab("report", "--json", str(run.folder))
    assert answer.returncode == 1 and json.loads(answer.stdout) == json.loads((run.folder / "results.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("matrx",), ("'matrx'", "'matrix'")),
        (("--loud",), ("--loud", "kmodlab --help")),
        (("matrix", "--kernel", "6.12"), ("--kernels", "kmodlab matrix --help")),
        (("matrix", "--stress", "many"), ("--stress", "'many'")),
        (("report", "one", "two"), ("two",)),
    ],
)
def test_what_the_command_line_lacks_is_one_line(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(kmodlab(*arguments), *words)


def test_every_command_says_the_same_of_its_exit_status() -> None:
    for command in (cli.main, *cli.main.commands.values()):
        text = command.get_help(click.Context(command))
        assert all(re.search(rf"^\s+{status}  \w", text, re.MULTILINE) for status in (0, 1, 2, 130)), text


def test_interrupted_is_a_status_of_its_own() -> None:
    @cli.main.command("interrupted-test")
    def command() -> None:
        raise KeyboardInterrupt

    try:
        answer = CliRunner().invoke(cli.main, ["interrupted-test"])
    finally:
        del cli.main.commands["interrupted-test"]
    assert (answer.exit_code, answer.stderr.strip()) == (130, "kmodlab: interrupted")


def test_help_says_what_there_is() -> None:
    answer = kmodlab("matrix", "--help")
    assert answer.returncode == 0
    assert "--kernels" in answer.stdout


def test_make_help_lists_every_entry_point() -> None:
    answer = subprocess.run(["make", "-C", str(REPOSITORY), "help"], capture_output=True, text=True, check=True)
    for target in ("matrix", "test", "lint", "unit", "molecule", "bench", "clean", "distclean"):
        assert f"make {target}" in answer.stdout


def test_a_kernel_that_cannot_be_asked_to_check_itself_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = standin.planned(tmp_path, ("one",))
    for checks in (False, True):
        manner = lab.order.manner.model_copy(update={"checks": checks})
        matrix.say_kernels(replace(lab, order=lab.order.model_copy(update={"manner": manner})), Console(width=200))
        said = [line for line in capsys.readouterr().out.splitlines() if "CHECKS" in line]
        assert len(said) == checks and all(line.startswith("board ") for line in said)
