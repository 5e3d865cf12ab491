"""What Debian's archive holds of a kernel today, and its packages.

The archive is asked through apt in a folder of its own, so that Debian's signatures are always checked and the machine's own apt
is left alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from debian.deb822 import Packages
from pydantic import BaseModel, ConfigDict

from kmodlab.ground.cache import cache_dir, digest, locked
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.ground.packages import install
from kmodlab.ground.process import LONG, SHORT
from kmodlab.plan.kernels import DEBIAN_ARCH, Kernel, native_arch
from kmodlab.results import contract
from kmodlab.results.contract import one_line, rfc3339

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SECURE = tuple(
    f'{name} "false";'
    for name in (
        *("Acquire::AllowInsecureRepositories", "Acquire::AllowWeakRepositories"),
        *("Acquire::AllowDowngradeToInsecureRepositories", "APT::Get::AllowUnauthenticated"),
    )
)
"""apt's own switches for taking what nobody signed: off, whatever this machine says."""
UPDATE_LIMIT = 600.0
"""Seconds in which another kmodlab must have fetched an archive's lists."""
FRESH_SECONDS = 6 * 3600
"""How long an answer of the archive is believed; REFRESH=1 asks again."""


class UnreachableError(LabError):
    """The archive does not answer, or not with what Debian has signed: what it holds is not known."""


class Resolved(BaseModel):
    """What the archive holds for a kernel today."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kernel: Kernel
    release: str
    """As `uname -r` says it."""
    version: str
    """Of the Debian packages, the same for image and headers."""
    sources: tuple[str, ...]
    """Lines for sources.list."""
    asked: datetime | None = None
    """When the archive said so."""
    stale: bool = False
    """True where the archive could not be asked and an earlier answer is used."""
    tools: tuple[str, ...] = ()
    """More packages for its build root: what the sources that are built there depend on."""

    @property
    def row(self) -> contract.Kernel:
        """The kernel as the results begin with it."""
        asked = rfc3339(self.asked) if self.asked else ""
        return self.kernel.row.model_copy(update={"release": self.release, "asked": asked, "stale": self.stale})

    @property
    def line(self) -> str:
        """The upstream line, "6.12"."""
        return self.kernel.line

    @property
    def offers(self) -> set[str]:
        """All hardware that modules may ask for."""
        return self.kernel.offers

    @property
    def source_package(self) -> str:
        """The package that a kernel of the lab's own is built of, as apt takes it."""
        return f"{self.kernel.kernel_source}={self.version.rpartition('+')[0]}"


def mirrors() -> tuple[str, str]:
    """Debian's archive and its security archive: from the environment, else this machine's apt, else mmdebstrap's default."""
    main = os.environ.get("KMODLAB_MIRROR") or _apt_mirror("Debian") or _mmdebstrap_mirror()
    main = main.rstrip("/")
    security = os.environ.get("KMODLAB_SECURITY_MIRROR") or _apt_mirror("Debian-Security")
    return main, (security or f"{main.removesuffix('/debian')}/debian-security").rstrip("/")


@cache
def apt_settings() -> tuple[str, ...]:
    """What this machine's own apt is told of its archive's reach and dates, as `apt-config dump` prints it: the lab's and roots'
    need it, too. Nothing else of it is heeded.

    A mirror that stands still, as a snapshot behind a registry does, has signatures whose time has run out.
    """
    wanted = (
        *("Acquire::Check-Valid-Until ", "Acquire::Check-Date "),
        *("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::https::CaInfo "),
    )
    answer = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False, timeout=SHORT)
    return tuple(line for line in answer.stdout.splitlines() if line.startswith(wanted))


def _apt_mirror(label: str) -> str | None:
    return _apt_mirrors().get(label)


@cache
def _apt_mirrors() -> dict[str, str]:
    """Debian's archives that this machine's apt knows, by label. Its index is kept by the lab where the machine keeps none, as
    in containers: to make it takes apt half a second.
    """
    index = cache_dir() / "machine.pkgcache"
    command = ["apt-get", "-o", f"Dir::Cache::pkgcache={index}", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SHORT)
    found: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        origin, label, uri = line.split("|", 2)
        if origin == "Debian":
            found.setdefault(label, uri)
    return found


def _mmdebstrap_mirror() -> str:
    command = ["mmdebstrap", "--simulate", '--setup-hook=cat "$1"/etc/apt/sources.list >&2; exit 1', "stable", "/dev/null"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SHORT)
    found = re.search(r"^deb (?:\[.*?\] )?(\S+) \S+ main", answer.stderr, re.MULTILINE)
    if not found:
        raise LabError("cannot tell which Debian mirror to use", hint="set KMODLAB_MIRROR to its address")
    return found[1]


def sources(kernel: Kernel, main: str, security: str) -> tuple[str, ...]:
    """The sources.list lines of a kernel's suites. Debian's keyring is named: no other signature will do."""
    lines = []
    expired = " check-valid-until=no" if kernel.kernel_archived else ""
    for suite in kernel.kernel_suites:
        mirror = kernel.kernel_mirror or (security if suite.endswith("-security") else main)
        lines.append(f"deb [signed-by={KEYRING}{expired}] {mirror} {suite} main")
    return tuple(lines)


def resolve(chosen: list[Kernel], *, refresh: bool = False) -> dict[str, Resolved | LabError]:
    """Ask the archive which version each kernel is today, each distinct set of suites once and in parallel.

    A kernel that cannot be resolved has its LabError as value, so that the others still run.
    """
    main, security = mirrors()

    def one(kernel: Kernel) -> Resolved | LabError:
        try:
            return _resolve(kernel, sources(kernel, main, security), refresh)
        except LabError as problem:
            return problem

    groups: dict[tuple[str, ...], list[Kernel]] = {}
    for kernel in chosen:
        groups.setdefault((kernel.userland_arch, *sources(kernel, main, security)), []).append(kernel)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        batches = pool.map(lambda group: [(k.id, one(k)) for k in group], groups.values())
    found = dict(pair for batch in batches for pair in batch)
    return {kernel.id: found[kernel.id] for kernel in chosen}


def remembered(chosen: list[Kernel]) -> dict[str, Resolved]:
    """What the archive has said of these kernels, however long ago; those that it was never asked for are missing."""
    main, security = mirrors()
    answers = {kernel.id: _answer(kernel, sources(kernel, main, security)) for kernel in chosen}
    return {name: Resolved.model_validate_json(path.read_text()) for name, path in answers.items() if path.exists()}


def remember(answer: Resolved) -> None:
    """Keep what another lab's archive has said of a kernel, unless this one was told something newer. The mirror is its own."""
    lines = sources(answer.kernel, *mirrors())
    path = _answer(answer.kernel, lines)
    known = Resolved.model_validate_json(path.read_text()) if path.exists() else None
    if known and (not answer.asked or (known.asked and known.asked >= answer.asked)):
        return
    path.parent.mkdir(exist_ok=True)
    write_aside(path, answer.model_copy(update={"sources": lines}).model_dump_json())


def _answer(kernel: Kernel, lines: tuple[str, ...]) -> Path:
    """Where what the archive said of a kernel is kept."""
    return cache_dir() / "resolved" / f"{kernel.id}-{digest(kernel.model_dump_json(), *lines, *kernel.recipe)}.json"


def _resolve(kernel: Kernel, lines: tuple[str, ...], refresh: bool) -> Resolved:
    answer = _answer(kernel, lines)
    earlier = Resolved.model_validate_json(answer.read_text()) if answer.exists() else None
    if earlier and not earlier.asked:  # an earlier kmodlab's
        earlier = earlier.model_copy(update={"asked": datetime.fromtimestamp(answer.stat().st_mtime, UTC)})
    if earlier and not refresh and time.time() - answer.stat().st_mtime < FRESH_SECONDS:
        return earlier
    try:
        resolved = _ask_archive(kernel, lines)
    except UnreachableError:
        if earlier:
            return earlier.model_copy(update={"stale": True})
        raise
    except LabError as problem:
        if earlier:
            was = f"it had {earlier.version} when it was asked before"
            raise LabError(f"{problem.what} ({was})", hint=problem.hint) from problem
        raise
    resolved = resolved.model_copy(update={"asked": datetime.now(UTC)})
    answer.parent.mkdir(exist_ok=True)
    write_aside(answer, resolved.model_dump_json())
    return resolved


def _ask_archive(kernel: Kernel, lines: tuple[str, ...]) -> Resolved:
    apt = _Apt(DEBIAN_ARCH[kernel.userland_arch], lines)
    apt.update(kernel)
    if kernel.kernel_source:
        return _newest_source(kernel, apt.show(kernel.kernel_source), lines)
    image = f"linux-image-{kernel.kernel_package}"
    for package in apt.show(image):
        version = package["Version"]
        images = [name for name in _parts(package) if name.startswith("linux-image-")]
        if version.startswith(f"{kernel.kernel_line}.") and images:
            release = images[0].removeprefix("linux-image-")
            if any(headers["Version"] == version for headers in apt.show(f"linux-headers-{release}")):
                return Resolved(kernel=kernel, release=release, version=version, sources=lines)
    suites = " ".join(kernel.kernel_suites)
    raise LabError(
        f"kernel {kernel.id}: no {image} {kernel.kernel_line}.* with its headers in {suites}",
        hint="mend its entry in inventories/matrix/hosts.yml",
    )


def lists(resolved: Resolved, arch: str) -> Path:
    """The folder of apt's lists of a kernel's suites, as they were fetched last; empty where they were not."""
    return _Apt(DEBIAN_ARCH[arch], resolved.sources).folder / "state/lists"


def download(resolved: Resolved, packages: Iterable[str], folder: Path, *, arch: str = "") -> list[Path]:
    """Put packages of a kernel's suites into a folder: the newest, or NAME=VERSION, of an architecture (this machine's own).

    Their signatures are checked as ever. LabError where the archive has one of them not, or cannot be reached.
    """
    return _Apt(DEBIAN_ARCH[arch or native_arch()], resolved.sources).download(packages, folder, resolved.kernel)


def depends(resolved: Resolved, package: str) -> list[str]:
    """What the newest version of a package depends on, the first of each choice; nothing where the suites have it not."""
    found = _Apt(DEBIAN_ARCH[native_arch()], resolved.sources).show(package)
    return [choice[0]["name"] for each in found[:1] for choice in each.relations["depends"] or ()]


def file_of(resolved: Resolved, package: str) -> str:
    """What the file of a package (NAME, the newest, or NAME=VERSION) is called, as far as the lists that are here tell."""
    name, _, version = package.partition("=")
    found = _Apt(DEBIAN_ARCH[native_arch()], resolved.sources).show(name)
    return next((Path(each["Filename"]).name for each in found if version in ("", each["Version"])), "")


def needed(resolved: Resolved, packages: Iterable[str]) -> list[str]:
    """All that packages of a kernel's suites take on a machine that has nothing, each as NAME=VERSION, without what is only
    recommended. LabError where they cannot be had together.
    """
    return _Apt(DEBIAN_ARCH[native_arch()], resolved.sources).needed(packages)


def download_kernel(resolved: Resolved, folder: Path) -> list[Path]:
    """Put a kernel's packages into a folder: its image, and what it needs of its own version.

    Until 7.2 Debian's linux-image-RELEASE holds kernel and modules; since 7.3 it only depends on the packages that do.
    """
    apt = _Apt(DEBIAN_ARCH[resolved.kernel.userland_arch], resolved.sources)
    wanted = [f"linux-image-{resolved.release}"]
    for name in wanted:  # which grows meanwhile
        needed = [part for each in apt.show(name) if each["Version"] == resolved.version for part in _parts(each)]
        wanted += dict.fromkeys(each for each in needed if each not in wanted)
    return apt.download([f"{name}={resolved.version}" for name in wanted], folder, resolved.kernel)


def _parts(package: Packages) -> list[str]:
    """The packages that one needs in its own version."""
    own = ("=", package["Version"])
    return [each["name"] for choice in package.relations["depends"] or () for each in choice if each.get("version") == own]


def _newest_source(kernel: Kernel, packages: list[Packages], lines: tuple[str, ...]) -> Resolved:
    """A kernel that the lab builds itself; its version names the source's and the configuration that it is built of."""
    versions = [each["Version"] for each in packages if each["Version"].startswith(f"{kernel.kernel_line}.")]
    if not versions:
        raise LabError(
            f"kernel {kernel.id}: no {kernel.kernel_source} {kernel.kernel_line}.* in {' '.join(kernel.kernel_suites)}",
            hint="mend its entry in inventories/matrix/hosts.yml",
        )
    upstream = versions[0].rpartition("-")[0]
    return Resolved(
        kernel=kernel,
        release=f"{upstream}-{kernel.kernel_package}",
        version=f"{versions[0]}+kmodlab{digest(*kernel.recipe, length=8)}",
        sources=lines,
    )


class _Apt:
    """apt with its lists in a folder of kmodlab's own, for one architecture and one set of sources."""

    def __init__(self, arch: str, lines: tuple[str, ...]) -> None:
        self.folder = cache_dir() / "apt" / digest(arch, *lines)
        for part in ("state/lists/partial", "cache/archives/partial", "none"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        write_aside(self.folder / "sources.list", "".join(f"{line}\n" for line in lines))
        settings = {
            "Dir::State": self.folder / "state",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "-",
            # This file is read before the machine's own settings, which would outweigh it: so they are not read.
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": self.folder / "none",
            "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": self.folder / "none",
            "APT::Architecture": arch,
            "APT::Architectures::": arch,
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        }
        conf = "".join(f'{key} "{value}";\n' for key, value in settings.items())
        own = "".join(f"{line}\n" for line in (*apt_settings(), *SECURE))
        write_aside(self.folder / "apt.conf", f"#clear APT::Architectures;\n#clear APT::Update;\n{conf}{own}")

    def _run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd, timeout=LONG)

    def update(self, kernel: Kernel) -> None:
        if not KEYRING.exists():
            raise LabError(f"{KEYRING} is missing, without which no package is taken", hint=install(["debian-archive-keyring"]))
        with locked(
            f"apt-{self.folder.name}", wait=UPDATE_LIMIT, busy=f"kernel {kernel.id}: another kmodlab is asking the archive"
        ):
            answer = self._run("apt-get", "update", "-q", "--error-on=any")
        if answer.returncode:
            problems = [line for line in answer.stderr.splitlines() if line.startswith("E:")] or [answer.stderr.strip()]
            raise UnreachableError(
                f"kernel {kernel.id}: the archive cannot be read: {problems[0]}", hint="check the network, or set KMODLAB_MIRROR"
            )

    def show(self, package: str) -> list[Packages]:
        """The versions of a package, newest first; none where the archive has no such package."""
        answer = self._run("apt-cache", "show", "--all-versions", package)
        return list(Packages.iter_paragraphs(answer.stdout, use_apt_pkg=False))

    def download(self, packages: Iterable[str], folder: Path, kernel: Kernel) -> list[Path]:
        """Put packages, NAME or NAME=VERSION, into an empty folder. The lists are fetched again only where they are too old."""
        folder.mkdir(exist_ok=True)
        command = ("apt-get", "download", "-q", *packages)
        answer = self._run(*command, cwd=folder)
        if answer.returncode:
            self.update(kernel)
            answer = self._run(*command, cwd=folder)
        if answer.returncode:
            errors = [line for line in answer.stderr.splitlines() if line.startswith("E:")] or ["no word"]
            raise LabError(f"packages cannot be downloaded: {errors[0]}", hint="run again with REFRESH=1, or check the network")
        return sorted(folder.glob("*.deb"))

    def needed(self, packages: Iterable[str]) -> list[str]:
        """What installing packages brings on a machine that has nothing, each as NAME=VERSION."""
        answer = self._run("apt-get", "install", "--simulate", "-q", "--no-install-recommends", *packages)
        if answer.returncode:
            raise LabError(f"packages cannot be had together: {one_line(answer.stderr)}")
        return [f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) \((\S+) ", answer.stdout, re.MULTILINE)]
