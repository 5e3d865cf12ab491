"""An array of shards on a real Slurm, one node with two slots, started here; the merge waits for both of them."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import gethostname

import pytest
import sharded

from kmodlab.ground.cache import REPOSITORY
from kmodlab.results.contract import Verdict
from kmodlab.results.folder import load_results

pytestmark = pytest.mark.skipif(not shutil.which("slurmctld"), reason="install slurm-wlm and munge")
STARTING = 60
"""Seconds in which a daemon must be there."""
CONFIGURATION = """\
ClusterName=kmodlab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=lab Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def running(folder: Path, *command: str) -> Iterator[None]:
    """A daemon in the foreground, until the end."""
    with (folder / f"{command[0]}.out").open("wb") as output:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield
        finally:
            daemon.terminate()
            daemon.wait(STARTING)


def wait_for(what: str, *command: str, environment: dict[str, str], word: str) -> None:
    """Until a command says a word."""
    until = time.monotonic() + STARTING
    while (
        word not in subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=STARTING).stdout
    ):
        assert time.monotonic() < until, f"{what} did not come up within {STARTING} s"
        time.sleep(0.2)


@pytest.fixture
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which sbatch reaches it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # a socket's path is short
    host = gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o600)
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, host=host))
    files = (f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed"))
    environment = {**sharded.PROGRAMS, "SLURM_CONF": str(configuration)}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(running(folder, "munged", "--force", "--foreground", f"--socket={folder}/munge.sock", *files))
        asked = ("munge", f"--socket={folder}/munge.sock", "--no-input")
        wait_for("munged", *asked, environment=environment, word="MUNGE")
        stack.enter_context(running(folder, "slurmctld", "-D", "-i", "-f", str(configuration)))
        stack.enter_context(running(folder, "slurmd", "-D", "-f", str(configuration)))
        wait_for("the node", "sinfo", "--noheader", "--format=%t", environment=environment, word="idle")
        yield environment


def submitted(slurm: dict[str, str], folder: Path, *words: str) -> int:
    """Have it all done: the status of the merge."""
    environment = {
        **slurm,
        "KMODLAB_WAIT": "1",
        "KMODLAB_REPORTS": str(folder / "reports"),
        "KMODLAB_CACHE": str(folder / "caches"),
    }
    command = [str(REPOSITORY / "ci/slurm.sh"), *words]
    answer = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=sharded.LIMIT
    )
    logs = "".join(path.read_text() for path in sorted((folder / "reports").glob("*.log")))
    print(answer.stdout, answer.stderr, logs)
    return answer.returncode


def test_an_array_proves_what_one_machine_proves(slurm: dict[str, str], tmp_path: Path) -> None:
    for number in ("1", "2"):
        sharded.another_cache(tmp_path / "caches" / number / "kmodlab")
    assert submitted(slurm, tmp_path, "2", *sharded.ORDER) == 0
    merged = tmp_path / "reports/latest"
    assert sharded.verdicts(merged) == sharded.verdicts(sharded.alone(tmp_path / "one"))
    shards = [load_results(path) for path in sorted(tmp_path.glob("reports/array-*/*/latest"))]
    assert [len(shard.cells) for shard in shards] == [2, 2]


def test_a_shard_that_could_not_be_run_is_an_error_in_its_cells(slurm: dict[str, str], tmp_path: Path) -> None:
    """The second one's cache is a file, so that it cannot begin."""
    sharded.another_cache(tmp_path / "caches/1/kmodlab")
    (tmp_path / "caches/2").write_text("")
    assert submitted(slurm, tmp_path, "2", *sharded.ORDER) == 2
    cells = load_results(tmp_path / "reports/latest").cells
    assert [cell.verdict for cell in cells].count(Verdict.PASS) == 2
    assert {cell.reason for cell in cells if cell.verdict is Verdict.ERROR} == {
        "shard 2/2 is missing: run it, and merge all of them again"
    }


@pytest.mark.parametrize("words", [(), ("0",), ("many",)])
def test_the_script_says_how_it_is_called(words: tuple[str, ...]) -> None:
    answer = subprocess.run([REPOSITORY / "ci/slurm.sh", *words], capture_output=True, text=True, check=False, env=os.environ)
    assert answer.returncode == 2 and answer.stderr.startswith("usage: ")
