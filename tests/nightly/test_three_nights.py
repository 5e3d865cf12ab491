"""Three nights on a real kernel: one line breaks a module before the second, and is mended before the third."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from email.message import Message
from pathlib import Path
from shutil import copyfile

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Handler

from kmodlab.ground.cache import REPOSITORY

MODULES = ("hello-1", "hello-2", "hello-3", "chardev")
HOUR = 3600


class _Inbox(Handler):
    """What was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.letters.append(message)


def _night(folder: Path, *options: str) -> tuple[int, str]:
    command = [
        sys.executable,
        "-m",
        "kmodlab",
        "nightly",
        "--kernels",
        "6.12-x86_64",
        "--modules",
        str(folder / "modules"),
        "--quick",
    ]
    places = ["--series", str(folder / "series"), "--reports", str(folder / "reports")]
    done = subprocess.run(
        [*command, *places, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=HOUR,
        cwd=folder,
        stdin=subprocess.DEVNULL,
    )
    print(done.stdout, done.stderr)
    return done.returncode, done.stdout + done.stderr


def test_broken_blamed_mailed_and_fixed(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    sources = {name: tmp_path / f"modules/{name}.c" for name in MODULES}
    for name, path in sources.items():
        copyfile(REPOSITORY / f"examples/{name}.c", path)
    copyfile(REPOSITORY / "examples/chardev.h", tmp_path / "modules/chardev.h")
    (tmp_path / "modules/Makefile").write_text("obj-m := " + " ".join(f"{name}.o" for name in MODULES) + "\n")
    inbox = _Inbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        mail = ("--mail", "kernel@example.org", "--smtp", f"127.0.0.1:{port}")
        script = ("--on-change", f"cat >{tmp_path}/told.json")

        status, said = _night(tmp_path, *mail, *script)
        assert (status, inbox.letters) == (0, []), said

        whole = sources["hello-2"].read_text()
        assert whole.count("return 0;") == 1
        sources["hello-2"].write_text(whole.replace("return 0;", "return -EINVAL;"))
        status, said = _night(tmp_path, *mail, *script)
        assert status == 1, said
        assert "once more, for it is news: hello-2" in said
        assert "hello-2 on 6.12-x86_64: newly broken, at load" in said
        assert "[changed: the module]" in said
        assert len(list((tmp_path / "reports").glob("2*/again/2*/results.json"))) == 1
        assert len(inbox.letters) == 1
        assert inbox.letters[0]["Subject"] == "[kmodlab] newly broken: hello-2 on 6.12-x86_64"
        text = str(inbox.letters[0].get_payload())
        assert "Invalid parameters" in text and "hello-1 on" not in text
        told = json.loads((tmp_path / "told.json").read_text())
        assert [(each["module"], each["blame"]) for each in told["broken"]] == [("hello-2", "the module")]

        sources["hello-2"].write_text(whole)
        status, said = _night(tmp_path, "--changed", *mail, *script)
        assert status == 0, said
        assert "hello-2 on 6.12-x86_64: fixed" in said
        assert "1 fixed: 1 cell, 1 passed" in said
        assert len(inbox.letters) == 2

        status, said = _night(tmp_path, "--changed", *mail, *script)
        assert (status, len(inbox.letters)) == (0, 2)
        assert len(list((tmp_path / "series/rows").glob("*/*.jsonl"))) in (3, 4)
        page = tmp_path / "series/site"
        assert (page / "index.html").is_file() and "hello-2" in (page / "feed.xml").read_text()
    finally:
        server.stop()
