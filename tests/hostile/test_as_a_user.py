"""Where root runs the tests: all hostile cases again as an ordinary user, made for it, whose home is a scratch folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

USER = "61185"
"""The second of the ids that systemd keeps for users that come and go; the first is the sandbox's nobody."""
REPOSITORY = Path(__file__).parents[2]
LIMIT = 600.0
HOME = Path("/tmp/home")
"""As the user sees it."""


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs the tests already")
def test_all_of_it_holds_for_an_ordinary_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, int(USER), int(USER))
    account = tmp_path / "passwd"
    account.write_text(f"{Path('/etc/passwd').read_text()}kmodlab-test:x:{USER}:{USER}::{HOME}:/bin/sh\n")
    view = ["--dev-bind", "/", "/", "--ro-bind", str(account), "/etc/passwd", "--tmpfs", "/tmp", "--bind", str(home), str(HOME)]
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={HOME}/pytest", "tests/hostile"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(HOME), "TMPDIR": str(HOME), "PYTHONDONTWRITEBYTECODE": "1"}
    answer = subprocess.run(
        ["bwrap", *view, *_python(), "--", *become, *tests],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert answer.returncode == 0 and "1 skipped" in answer.stdout, answer.stdout + answer.stderr


def _python() -> list[str]:
    """Show the user the Python that runs this test, which may be in a folder of root's that is closed to others."""
    folder = Path(sys.executable).resolve().parents[1]
    closed = [each for each in (folder, *folder.parents) if not each.stat().st_mode & 0o001]
    if not closed:
        return []
    way = [each for each in reversed(folder.parents) if each.is_relative_to(closed[-1]) and each != closed[-1]]
    made = [word for each in way for word in ("--perms", "0755", "--dir", str(each))]
    return ["--perms", "0755", "--tmpfs", str(closed[-1]), *made, "--ro-bind", str(folder), str(folder)]
