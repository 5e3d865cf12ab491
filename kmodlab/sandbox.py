"""Run other people's build rules without network, without our files, and with a root of our choosing."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kmodlab.errors import LabError

WORK = Path("/mnt")
"""Where the one writable folder is inside a sandbox: a folder that every root has."""


USR_ONLY = [
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
]
"""A root of this machine's programs and nothing else of it."""


def run(
    root: Path | None,
    command: Sequence[str],
    *,
    work: Path | None = None,
    read_only: Mapping[Path, Path] | None = None,
    stdin: str = "",
    limit: float,
) -> subprocess.CompletedProcess[str]:
    """Run a command with `root` as a read-only `/` (None: this machine's /usr only) and `work` writable at /mnt.

    `read_only` maps more paths of this machine to where they are seen inside. No network, no environment, no other file
    and no other process is there. After `limit` seconds everything in the sandbox is killed: LabError.
    """
    binds = ["--bind", str(work), str(WORK)] if work else []
    for outside, inside in (read_only or {}).items():
        binds += ["--ro-bind", str(outside), str(inside)]
    sandbox = [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *(*(["--ro-bind", str(root), "/"] if root else USR_ONLY), "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *binds),  # noqa: S108
        *("--setenv", "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        *("--setenv", "HOME", "/tmp", "--setenv", "LC_ALL", "C.UTF-8"),  # noqa: S108
        *("--chdir", str(WORK if work else "/")),
    ]
    try:
        return subprocess.run(
            [*sandbox, *command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=limit,
        )
    except FileNotFoundError as problem:
        raise LabError("bwrap is missing: install the package bubblewrap; modules are never built outside a sandbox") from problem
    except subprocess.TimeoutExpired as problem:
        raise LabError(f"{' '.join(command[:3])} ... did not end within {limit:.0f} s in its sandbox and was killed") from problem
