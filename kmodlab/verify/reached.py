"""Own tests on any host that SSH reaches: an ordinary one, on which the modules are installed.

What a test gets are the same objects as in a run of the lab. What it must not do is pass without having been there: a host that
cannot be reached, a module that is not installed, a missing tool are failures, each in a line that says the mend.
"""

from __future__ import annotations

import base64
import io
import re
import shlex
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import yaml
from pydantic import ValidationError
from testinfra.backend.ssh import SshBackend
from testinfra.host import Host

from kmodlab.build.needs import kernel_name, soft_words
from kmodlab.ground.cache import REPOSITORY
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import printable
from kmodlab.guest import shell
from kmodlab.guest.gpio import Chip, open_chip
from kmodlab.guest.shell import Guest, GuestLostError, number
from kmodlab.judge import taint
from kmodlab.judge.classifier import Severity, classify
from kmodlab.plan.catalog import Module, line_of, load_catalog
from kmodlab.plan.wiring import SIMULATOR, SIMULATOR_SOURCES, Wiring
from kmodlab.results.contract import one_line
from kmodlab.verify.fixtures import module_name, project_of
from kmodlab.verify.module import ModuleUnderTest

ARCHES = {"x86_64": "x86_64", "aarch64": "arm64", "armv7l": "armhf", "armv6l": "armhf"}
"""By what uname -m says."""
MADE_HERE = ("simulated", "gpio-sim")
"""Providers whose chip comes into being for the test: where its lines are needs no file."""
WHO = "id -u; uname -m; uname -r; command -v python3"
BRING = """\
file=$(modinfo -n {name}) || exit 0
unpack() {{
    python3 -c "import shutil, sys, $1; shutil.copyfileobj($1.open(sys.stdin.buffer), sys.stdout.buffer)"
}}
case $file in
/*) mkdir -p {folder} && case $file in *.xz) unpack lzma ;; *.gz) unpack gzip ;; *.zst) zstd -dc ;; *) cat ;; esac \\
    <"$file" >{folder}/{name}.ko || exit ;;
esac
echo "$file"
modinfo -F depends {name}
modinfo -F softdep {name}
"""
"""Put an installed module's file, unpacked, where a run has it; and say where it was, and what it depends on."""
BRING_LIMIT = 120.0
COMPILE_LIMIT = 900.0
"""Seconds: emulated hosts with others at work were seen to need sixteen to unpack a module, and more than 300 to compile one."""
MOST_SOURCES = 8 << 20
"""Bytes of C files that go to a host, to be compiled there."""


@dataclass(frozen=True)
class _File:
    """A module's file, as modinfo describes it on the host."""

    depends: list[str]
    soft: list[str]
    """What it would have modprobe load first."""


class ReachedGuest(Guest):
    """A host as Testinfra reaches it by SSH: with the same options, and over its shared connection."""

    def __init__(self, backend: SshBackend, arch: str) -> None:
        super().__init__(backend.get_pytest_id(), Path("/dev/null"), arch, become=bool(backend.sudo))
        self._backend = backend

    def command(self, script: str) -> list[str]:
        """As Guest's."""
        words, arguments = self._backend._build_ssh_command(self.command_line(script))
        return ["sh", "-c", f"exec {self._backend.quote(' '.join(words), *arguments)}"]


class InstalledModule(ModuleUnderTest):
    """A module that was found where modprobe finds it, and its user programs, compiled on the host when a test asks for them."""

    compile: Callable[[str], None]

    @property
    def programs(self) -> str:
        """As ModuleUnderTest's."""
        for source in self.entry.programs:
            self.compile(source)
        return super().programs


class Reached:
    """The hosts of one pytest."""

    def __init__(self, wiring: str, offers: str) -> None:
        self._wiring = _wiring(wiring) if wiring else None
        self._offers = {*offers.replace(",", " ").split(), *(["gpio"] if self._wiring else [])}
        self._guests: dict[str, ReachedGuest | str] = {}
        """By Testinfra's name of the host; or why it cannot be had, which is not tried again."""
        self._files: dict[tuple[str, str], _File] = {}
        """What was brought, by host and module."""
        self._compiled: set[tuple[str, str]] = set()
        """User programs and the simulated chip, by host and source: once, as what is there may be of another day."""

    def guest(self, host: Host) -> Guest:
        name = host.backend.get_pytest_id()
        if name not in self._guests:
            self._guests[name] = _met(host)
        found = self._guests[name]
        return _fail(found) if isinstance(found, str) else found

    def module(self, item: pytest.Item, guest: Guest) -> ModuleUnderTest:
        name, project = module_name(item), project_of(item)
        if project is None:
            _fail(f"{item.nodeid}: no catalog.yml above it: own tests are in a folder tests/ beside one")
        try:
            catalog = load_catalog(project).modules
        except LabError as problem:
            _fail(str(problem))
        entry = catalog.get(name) or Module(name=name)
        reason = entry.skip_reason(".".join(map(str, line_of(guest.release))), guest.arch, self._offers)
        if reason:
            pytest.skip(f"{guest.name}: {reason}")
        gpio = self._wired(guest, self._wiring) if self._wiring and "gpio" in entry.hardware else None
        if self._wiring:
            entry = entry.model_copy(update={"parameters": self._wiring.fill(entry.parameters)})
        needs = self._needs(guest, entry, catalog)
        own = [self._brought(guest, each.name) for each in (*needs, entry)]
        known = {kernel_name(each) for each in catalog}
        in_tree = [each for file in own for each in file.depends if kernel_name(each) not in known]
        in_tree += [each for of in (*needs, entry) for each in of.kernel_modules]
        soft = [each for file in own for each in file.soft if kernel_name(each) not in known]
        found = InstalledModule(entry, guest, needs, list(dict.fromkeys(in_tree)), soft, gpio)
        found.compile = partial(self._program, guest, project)
        return found

    @contextmanager
    def gpio(self, module: ModuleUnderTest) -> Iterator[Chip]:
        if self._wiring is None:
            pytest.skip(f"{module.guest.name}: no GPIO lines that a test could drive: name them with --kmodlab-gpio")
        with open_chip(self._wired(module.guest, self._wiring), module.guest, None) as chip:
            yield chip
            if module.is_loaded():
                module.unload()

    @contextmanager
    def watched(self, module: ModuleUnderTest) -> Iterator[None]:
        guest = module.guest
        try:
            mark, before = guest.log.mark(), _tainted(guest)
        except GuestLostError as problem:
            _fail(f"{guest.name}: {_first(problem)}")
        yield
        try:
            stuck, after = module.clean_up()
            findings = [
                each for each in classify(guest.log.since(mark), release=guest.release) if each.severity >= Severity.FAULT
            ]
            problems = [f"{each.kind}: {each.headline}" for each in findings] + taint.judge(before, after)
            problems += [f"left loaded, and cannot be unloaded: {stuck}"] if stuck else []
            problems += [f"the log cannot be trusted: {gap}" for gap in guest.log.gaps(mark)]
        except (GuestLostError, AssertionError) as problem:
            problems = [f"after the test the host does not do as it is told: {_first(problem)}"]
        if problems:
            _fail(f"{module.name} on {guest.name}: {'; '.join(problems)}")

    @property
    def discards(self) -> bool:
        return False

    def close(self) -> None:
        for guest in self._guests.values():
            if isinstance(guest, Guest):
                guest.close()

    def _needs(
        self, guest: Guest, entry: Module, catalog: dict[str, Module], above: frozenset[str] = frozenset()
    ) -> list[Module]:
        """The modules of the catalog that one needs, in loading order: by the catalog's word, and by their files'."""
        found: dict[str, Module] = {}
        above |= {entry.name}
        file = self._brought(guest, entry.name)
        named = {kernel_name(each) for each in (*file.depends, *file.soft)}
        for name in dict.fromkeys([*entry.needs, *(each for each in catalog if kernel_name(each) in named)]):
            if name not in above and name in catalog:
                need = catalog[name]
                found.update({each.name: each for each in (*self._needs(guest, need, catalog, above), need)})
        return list(found.values())

    def _brought(self, guest: Guest, name: str) -> _File:
        """An installed module, whose file is in a folder of ours there from now on."""
        if (guest.name, name) not in self._files:
            answer = guest.sh(BRING.format(name=shlex.quote(name), folder=shell.MODULES), timeout=BRING_LIMIT)
            where, depends, *soft = [*answer.stdout.splitlines(), "", ""]
            if not where.startswith("/"):
                known = f"it is {where}" if where else _last(answer.stderr)
                _fail(f"{name} is not installed on {guest.name} ({known}): put it there first, by the role module_deploy say")
            if re.search("/modules/[^/]+/kernel/", where):
                _fail(f"{name} on {guest.name} is the kernel's own ({where}), and not the project's: install that first")
            self._files[guest.name, name] = _File([each for each in depends.split(",") if each], [*soft_words(" ".join(soft))])
        return self._files[guest.name, name]

    def _wired(self, guest: Guest, wiring: Wiring) -> Wiring:
        """The wiring, and the lab's own chip on the host where it asks for that."""
        if wiring.provider == "simulated":
            make = f"make -s -C /lib/modules/$(uname -r)/build M=$PWD && mv {SIMULATOR}.ko {shell.LAB_MODULES}/"
            self._compile(guest, REPOSITORY / SIMULATOR_SOURCES, SIMULATOR, make, shell.LAB_MODULES)
        return wiring

    def _program(self, guest: Guest, project: Path, source: str) -> None:
        """Compile a user program on the host."""
        compiler = f"cc -O2 -Wall -Wextra -Werror -o {shell.PROGRAMS}/{shlex.quote(Path(source).stem)} {shlex.quote(source)}"
        self._compile(guest, project, source, compiler, shell.PROGRAMS)

    def _compile(self, guest: Guest, sources: Path, what: str, how: str, folder: str) -> None:
        if (guest.name, what) in self._compiled:
            return
        script = f"""mkdir -p {folder} && cd $(mktemp -d) && trap 'rm -rf "$PWD"' EXIT && base64 -d | tar -xz || exit\n{how}"""
        answer = guest.sh(script, check=False, timeout=COMPILE_LIMIT, stdin=base64.b64encode(_c_files(sources)).decode())
        if answer.rc:
            mend = "the roles build_toolchain and kernel_headers bring what it takes"
            _fail(f"{what} cannot be compiled on {guest.name}: {_last(answer.stderr)}; {mend}")
        self._compiled.add((guest.name, what))


def _met(host: Host) -> ReachedGuest | str:
    """A host as a target; or why it can be none."""
    backend = host.backend
    name = backend.get_pytest_id()
    if not isinstance(backend, SshBackend):
        return f"{name}: tests of modules run on hosts that SSH reaches: --hosts=ssh://NAME, or an Ansible inventory's"
    if backend.sudo_user not in (None, "root"):
        return f"{name}: modules are loaded by root, and not by {backend.sudo_user}"
    try:
        answer = host.run(WHO)
    except RuntimeError as problem:  # Testinfra's, of SSH's status 255
        (result,) = problem.args
        return f"{name} cannot be reached: {_last(getattr(result, 'stderr', str(problem)))}"
    told = answer.stdout.split()
    if len(told) < 3:
        return f"{name} does not answer as a host does: {_last(answer.stderr or answer.stdout)}"
    if told[0] != "0":
        return f"{name}: modules are loaded by root, and this is user {told[0]}: give --sudo, or log in as root"
    if answer.rc:
        return f"{name} has no python3, which tests need there: install it"
    if told[1] not in ARCHES:
        return f"{name}: kmodlab knows no machine {told[1]} (it knows {', '.join(ARCHES)})"
    return ReachedGuest(backend, ARCHES[told[1]])


def _wiring(asked: str) -> Wiring:
    """What --kmodlab-gpio names. UsageError for what cannot be read."""
    if asked in MADE_HERE:
        return Wiring.model_validate({"provider": asked, "chip": "kmodlab-gpio", "button_up": 0, "button_down": 1, "led": 2})
    try:
        wiring = Wiring.model_validate(yaml.safe_load(Path(asked).read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as problem:
        reason = one_line(str(problem.errors()[0]["msg"]) if isinstance(problem, ValidationError) else str(problem))
        raise pytest.UsageError(f"--kmodlab-gpio={asked}: {reason}; it is {', '.join(MADE_HERE)}, or a file") from problem
    if wiring.provider == "qemu":
        raise pytest.UsageError(f"--kmodlab-gpio={asked}: the provider qemu is for machines of the lab's own")
    return wiring


def _c_files(project: Path) -> bytes:
    """A folder's C files and rules, packed."""
    buffer, size = io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        files = (each for pattern in ("*.[ch]", "Makefile") for each in project.rglob(pattern))
        for path in sorted(each for each in files if each.is_file() and not each.is_symlink()):
            size += path.stat().st_size
            if size > MOST_SOURCES:
                _fail(f"{project} has more than {MOST_SOURCES >> 20} MiB of C files: its programs cannot be taken to a host")
            tar.add(path, str(path.relative_to(project)))
    return buffer.getvalue()


def _tainted(guest: Guest) -> int:
    return number(guest.sh("cat /proc/sys/kernel/tainted").stdout)


def _first(problem: BaseException) -> str:
    return printable(str(problem).partition("\n")[0])


def _last(text: str) -> str:
    return printable((text.strip().splitlines() or ["no word"])[-1])


def _fail(reason: str) -> NoReturn:
    pytest.fail(reason, pytrace=False)
