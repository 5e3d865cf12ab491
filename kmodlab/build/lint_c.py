"""What compiler and sparse have to say about C sources, on each kernel, in its own build root: nothing is what they should say.

W=1 is the kernel's own choice of further warnings. sparse is the release's own package, unpacked beside the root: it reads
headers of its time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from kmodlab.build import build_log, kbuild
from kmodlab.build.trees import copied, working_copy
from kmodlab.debian import archive, roots, userland
from kmodlab.debian.archive import Resolved
from kmodlab.ground import sandbox
from kmodlab.ground.cache import REPOSITORY, cache_dir, digest, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.ground.sandbox import Answer
from kmodlab.plan import kernels

ASSIGNMENTS = ("bank", "letterbox", "tally")
FOLDERS = (
    "examples",
    *(f"examples/assignments/{name}" for name in ASSIGNMENTS),
    "roles/gpio_simulator/files",
    "tests/integration/leaks",
)
"""What is held to it. The faults that the lab must find are left out."""
ALWAYS = "6.12-x86_64"
"""The kernel whose build root is made for this where it is missing: the tests that follow need it, too."""
SPARSE = Path("/tmp/sparse")  # noqa: S108 the sandbox's own, in its memory
"""Where sparse is inside the sandbox."""
UNKNOWN_TO_SPARSE = "-D__typeof_unqual__=__typeof__ '-D__builtin_strlen(s)=(sizeof(s)-1)'"
"""What the headers of 7.x ask of a compiler and sparse 0.6.4 does not know: a word, and a length that is a constant."""
SETTINGS = (
    "W=1",
    "C=1",
    f"CHECK={SPARSE}",
    f"CF={UNKNOWN_TO_SPARSE}",
    "KBUILD_CHECKSRC=1",  # the headers package of 7.3 lacks the script that finds out whether sparse is there
    "cmd_checkdoc=",  # of W=1 in 6.12: needs more of Perl than a build root has, for comments of a form that is not ours
)
TOLD = re.compile(
    rf"^(?:{sandbox.WORK}/|\./)?((?P<file>[\w.+/-]+\.[chS]):\d+(?::\d+)?: .*?\b(?:warning|error): .*)$", re.MULTILINE
)
MODPOST = re.compile(r"^(?:WARNING|ERROR): modpost: .*$", re.MULTILINE)


def lint_all(words: str) -> list[str]:
    """What is wrong on the kernels that `words` name; without any: on the fleet's whose build root is there, and ALWAYS."""
    if not all((REPOSITORY / folder).is_dir() for folder in FOLDERS):
        raise LabError("lint-c is for kmodlab's own sources: run it in a checkout of kmodlab")
    inventory = kernels.load_inventory()
    chosen = kernels.select([words], inventory, [*kernels.default_fleet(), ALWAYS])
    lines = []
    for kernel, resolved in archive.resolve(chosen).items():
        if isinstance(resolved, LabError):
            raise resolved
        if words or kernel == ALWAYS or roots.image_path(resolved, "build").exists():
            lines += lint(resolved)
    return lines


def lint(resolved: Resolved, folders: Sequence[str] = FOLDERS) -> list[str]:
    """What is wrong with the sources of these folders of the repository, one line each; cached where that is nothing."""
    root = roots.build_root(resolved)
    tool = _sparse(resolved)
    return [line for folder in folders for line in _lint(resolved, root, tool, REPOSITORY / folder)]


def lint_folder(resolved: Resolved, root: Path, folder: Path) -> list[str]:
    """What W=1 and sparse say of the sources in a folder of anybody's, one line each; sources that do not build say it
    themselves.
    """
    answer = _checked(resolved, root, _sparse(resolved), folder)
    return _told(answer.log, folder)


def _lint(resolved: Resolved, root: Path, tool: Path, folder: Path) -> list[str]:
    clean = cache_dir() / "lint" / digest(root.parent.name, " ".join(SETTINGS), tool, folder)
    if clean.exists():
        return []
    answer = _checked(resolved, root, tool, folder)
    found = complaints(answer.log, folder)
    if "  CHECK   " not in answer.log:
        raise LabError(f"kernel {resolved.kernel.id}: kbuild did not run sparse", hint="report this as a bug of kmodlab")
    if answer.status and not found:
        found = [f"{folder.relative_to(REPOSITORY)}: {build_log.failure_reason(answer.log, folder.name)}"]
    if not found:
        clean.parent.mkdir(exist_ok=True)
        write_aside(clean, "")
    return [f"{resolved.kernel.id}: {line}" for line in found]


def _checked(resolved: Resolved, root: Path, tool: Path, folder: Path) -> Answer:
    """A build of a folder's sources in which both are heard."""
    with working_copy(copied(folder).folder) as work:
        command = [
            *("make", "-C", f"/lib/modules/{resolved.release}/build", f"M={sandbox.WORK}", "-k", f"-j{os.cpu_count() or 1}"),
            *("--output-sync=target", *SETTINGS, f"CROSS_COMPILE={resolved.kernel.cross}", "modules"),
        ]
        return sandbox.run(root, command, work=work, read_only={tool: SPARSE}, limits=kbuild.BUILDING)


def complaints(log: str, folder: Path) -> list[str]:
    """Warnings and errors about files of the folder, and modpost's, each once.

    Warnings about the kernel's own headers are the kernel's; but an error there means that the rest was not read.
    """
    ours = [f"{folder.relative_to(REPOSITORY)}/{line}" for line in _told(log, folder)]
    lines = (match for match in TOLD.finditer(log) if not (folder / match["file"]).is_file())
    unread = [f"the kernel's headers cannot be read: {match[1]}" for match in lines if " error: " in match[1]]
    return list(dict.fromkeys([*ours, *unread[:1], *MODPOST.findall(log)]))


def _told(log: str, folder: Path) -> list[str]:
    """What is said about files of the folder, each once."""
    return list(dict.fromkeys(match[1] for match in TOLD.finditer(log) if (folder / match["file"]).is_file()))


def _sparse(resolved: Resolved) -> Path:
    """The program sparse of a kernel's release, for this machine, unpacked from its package."""
    target = cache_dir() / "sparse" / digest(kernels.native_arch(), resolved.kernel.distribution)
    if not target.exists():
        with filled(target) as folder:
            [package] = archive.download(resolved, ["sparse"], folder)
            userland.unpack([package], folder)
            if not (folder / "usr/bin/sparse").is_file():
                raise LabError(f"kernel {resolved.kernel.id}: the package {package.name} holds no usr/bin/sparse")
    return target / "usr/bin/sparse"
