"""Other people's code tries to get out of its sandbox, or to use up the machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.sandbox import MIB, Answer, Limits

SMALL = Limits(seconds=20, memory=256 * MIB, processes=50, file=8 * MIB, disk=32 * MIB, files=2000, temporary=4 * MIB, output=MIB)
Run = Callable[..., Answer]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A writable folder for a sandbox, below one that is closed to others."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "work").mkdir()
    return closed / "work"


@pytest.fixture
def run(work: Path) -> Run:
    def run(script: str, limits: Limits = SMALL, **more: object) -> Answer:
        return sandbox.run(None, ["sh", "-c", script], work=work, limits=limits, **more)  # type: ignore[arg-type]

    return run


def test_nobody_in_a_sandbox_has_a_privilege_or_can_get_one(run: Run) -> None:
    status = run("cat /proc/self/status; id -u").output
    assert re.findall(r"^Cap[A-Z][a-z]{2}:\s+(\w+)$", status, re.MULTILINE) == ["0" * 16] * 5
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE) and re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    assert status.splitlines()[-1] == sandbox.INSIDE
    for way in ("unshare --user true", "unshare --user --map-root-user --mount true", "unshare --mount true"):
        assert run(way).status, way


def test_what_is_read_only_stays_so(run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("good")
    kept.chmod(0o777)
    (kept / "file").chmod(0o666)
    tries = "mount -o remount,bind,rw /srv/kept; mount -t tmpfs none /srv; echo evil >/srv/kept/file; rm -f /srv/kept/file; "
    paths = "/usr /usr/bin /usr/bin/env / /dev /srv /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sysrq-trigger"
    answer = run(
        f"{tries} for path in {paths}; do test -w $path && echo can write $path; done", read_only={kept: Path("/srv/kept")}
    )
    assert (kept / "file").read_text() == "good"
    assert "can write" not in answer.output


def test_it_sees_no_file_process_or_word_of_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODLAB_SIGNING_PASSPHRASE", "sesame")
    answer = run("cat /proc/*/environ; ls /root /home /etc /work /var; for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done")
    assert "sesame" not in answer.output
    assert not re.search(r"pytest|python", answer.output), answer.output
    assert answer.output.count("No such file or directory") >= 5


def test_it_reaches_no_network_and_no_socket_that_a_namespace_does_not_hold(run: Run) -> None:
    answer = run(
        "cat /proc/net/dev; for f in 2 17 38 40 45; do python3 -c \"import socket; socket.socket($f, 1); print('had', $f)\"; done"
    )
    assert re.findall(r"^\s*(\w+):", answer.output, re.MULTILINE)[:1] == ["lo"] and answer.output.count(":  ") <= 2
    assert re.findall(r"had \d+", answer.output) == ["had 2"]


def test_it_inherits_its_three_streams_and_nothing_that_could_forge_how_it_ended(run: Run) -> None:
    assert run("ls /proc/self/fd", secrets={Path("/tmp/key"): b"secret"}).output.split() == ["0", "1", "2", "3"]  # 3 is ls' own


def test_a_secret_is_there_for_its_command_and_on_no_disk(run: Run, work: Path) -> None:
    answer = run("cat /tmp/key; read line; echo $line", secrets={Path("/tmp/key"): b"secret\n"}, stdin="word\n")
    assert answer.output == "secret\nword\n"
    assert list(work.rglob("*")) == []


def test_who_closes_its_output_is_waited_for_all_the_same(run: Run, work: Path) -> None:
    script = "exec >&- 2>&-; sleep 1; echo late >file; exit 4"
    assert run(script) == Answer(4, "") and (work / "file").read_text() == "late\n"
    assert "within 2 s" in run("exec >&- 2>&-; sleep 100", Limits(**{**SMALL.__dict__, "seconds": 2})).overrun


def test_nothing_is_written_any_more_when_it_has_ended(run: Run, work: Path) -> None:
    for _ in range(5):
        run("(exec >&- 2>&-; setsid sh -c 'while :; do echo x >>file; done') & sleep 0.1")
        size = (work / "file").stat().st_size
        time.sleep(0.05)  # there is no event for what must not happen
        assert (work / "file").stat().st_size == size


def test_what_it_prints_and_how_it_ends_is_told_whole(run: Run) -> None:
    assert run("echo one; echo two >&2; echo three >/dev/stderr; exit 3") == Answer(3, "one\ntwo\nthree\n")
    assert run("kill -9 $$").status == 137
    assert run("tool-that-is-not-there").status == 127


@pytest.mark.parametrize(
    ("script", "limit"),
    [
        ("sleep 100", "did not end within 2 s"),
        ("trap '' TERM HUP; setsid sleep 100 & wait", "did not end within 2 s"),
        ("while :; do :; done", "did not end within 2 s|it took more"),
        ("yes", "printed more than 1 MiB"),
        ("python3 -c \"while True: print('x' * 10_000_000, end='')\"", "printed more than 1 MiB"),
        ("i=0; while [ $i -lt 80 ]; do sleep 100 & i=$((i+1)); done; wait", "more than 50 processes"),
        (
            "for i in 1 2 3 4; do python3 -c 'import time; x = bytearray(90 << 20); time.sleep(100)' & done; wait",
            "more than 256 MiB of memory",
        ),
        ("i=0; while :; do head -c 7M /dev/zero >$i; i=$((i+1)); done", "more than 32 MiB to the disk"),
        ("i=0; while :; do : >$i; i=$((i+1)); done", "more than 2000 files"),
    ],
)
def test_who_passes_a_limit_is_killed_and_the_limit_named(run: Run, script: str, limit: str) -> None:
    slow = re.match("did", limit)
    answer = run(script, Limits(**{**SMALL.__dict__, "seconds": 2 if slow else 60}))
    assert answer.status and re.search(limit, answer.overrun), answer
    assert len(answer.output) <= SMALL.output + (1 << 16)


def test_a_fork_bomb_ends(run: Run) -> None:
    """It is killed, or it ends itself, because its own shell cannot start another process, either."""
    assert run("f() { f | f & }; f; sleep 100", Limits(**{**SMALL.__dict__, "seconds": 5})).status


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("python3 -c 'bytearray(1 << 30)'", "MemoryError"),
        ("head -c 20M /dev/zero >file", "File size limit exceeded|File too large"),
        ("head -c 6M /dev/zero >/tmp/file", "No space left"),
        ("head -c 6M /dev/zero >/dev/shm/file", "No space left"),
    ],
)
def test_the_kernel_itself_keeps_one_process_to_its_limits(run: Run, script: str, says: str) -> None:
    answer = run(script)
    assert answer.status and re.search(says, answer.output), answer


def test_what_keeps_to_its_limits_is_left_alone(run: Run, work: Path) -> None:
    script = "for i in $(seq 20); do sleep 0.5 & done; wait; head -c 7M /dev/zero >file; head -c 900K /dev/zero | tr '\\0' '\\n'"
    answer = run(script)
    assert (answer.status, answer.overrun) == (0, "")
    assert (work / "file").stat().st_size == 7 * MIB


def test_a_line_of_megabytes_is_cut(run: Run) -> None:
    assert run("head -c 900K /dev/zero | tr '\\0' x; echo; echo end").output == f"{'x' * sandbox.LINE}…\nend\n"


def test_nothing_of_it_outlives_the_lab(tmp_path: Path) -> None:
    """However the lab ends: here by SIGKILL, while a sandbox is at work."""
    mark = str(time.monotonic_ns())
    script = f"echo; setsid sleep 1{mark} & sleep 1{mark}"
    code = f"from kmodlab.ground import sandbox; sandbox.run(None, ['sh', '-c', '{script}'], limits=sandbox.Limits(seconds=100))"
    with subprocess.Popen([sys.executable, "-c", code]) as lab:
        _await(lambda: len(_with(f"1{mark}")) >= 2, "the sandbox does not begin")
        os.kill(lab.pid, signal.SIGKILL)
    _await(lambda: not _with(f"1{mark}"), "its processes live on")


def _with(word: str) -> list[str]:
    """The processes whose arguments hold a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if b"sleep" in content.split(b"\0")[0] and word.encode() in content:
            found.append(path.parent.name)
    return found


def _await(done: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


def test_where_no_sandbox_can_be_had_nothing_is_run_and_one_line_says_why(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = (
        "import sys; from kmodlab.ground import sandbox\n"
        "from kmodlab.ground.errors import LabError\n"
        f"try: sandbox.run(None, ['touch', '{mark}'], limits=sandbox.Limits(seconds=9))\n"
        "except LabError as problem: print(problem)\n"
    )
    no_namespaces = ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    answer = subprocess.run([*no_namespaces, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = answer.stdout.splitlines()
    told = r"this machine gives other people's code no sandbox \(.+\), so none is run: (allow user namespaces|.*ordinary user)"
    assert re.match(told, line)
    assert not mark.exists()


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"bwrap is missing, .*; install the package bubblewrap"):
        sandbox.run(None, ["true"], limits=SMALL)
