"""An archive that nobody signed, or a stranger, on loopback; on a machine whose own apt would take it."""

from __future__ import annotations

import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CARELESS = """\
Acquire::AllowInsecureRepositories "true";
Acquire::AllowWeakRepositories "true";
Acquire::AllowDowngradeToInsecureRepositories "true";
APT::Get::AllowUnauthenticated "true";
Acquire::Check-Valid-Until "false";
"""
ASK = """
import sys
from pathlib import Path
from kmodlab.debian import archive
from kmodlab.ground.errors import LabError
from kmodlab.plan.kernels import load_inventory
archive.KEYRING = Path(sys.argv[2])
kernel = load_inventory()["6.12-x86_64"]
apt = archive._Apt("amd64", (f"deb [signed-by={sys.argv[2]}] {sys.argv[1]} stable main",))
try:
    apt.update(kernel)
    print([path.name for path in apt.download(["hello"], Path(sys.argv[3]), kernel)])
except LabError as problem:
    print(f"refused: {problem}")
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A repository with one package, not signed yet."""
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN").chmod(0o755)
    control = "Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@localhost>\nDescription: says hello\n"
    (package / "DEBIAN/control").write_text(control)
    folder = tmp_path / "archive"
    index = folder / "dists/stable/main/binary-amd64"
    index.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", package, folder / "hello.deb"], check=True, capture_output=True)
    digests = {name: _digest(folder / "hello.deb", name) for name in ("md5sum", "sha256sum")}
    size = (folder / "hello.deb").stat().st_size
    entry = f"{control}Filename: hello.deb\nSize: {size}\nMD5sum: {digests['md5sum']}\nSHA256: {digests['sha256sum']}\n\n"
    (index / "Packages").write_text(entry)
    listed = f" {_digest(index / 'Packages', 'sha256sum')} {len(entry)} main/binary-amd64/Packages"
    date = subprocess.run(["date", "-u", "-R"], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout.strip()
    head = f"Origin: Test\nSuite: stable\nCodename: stable\nDate: {date}\nArchitectures: amd64\nComponents: main\n"
    (index.parents[1] / "Release").write_text(f"{head}SHA256:\n{listed}\n")
    return folder


def _digest(path: Path, tool: str) -> str:
    return subprocess.run([tool, path], capture_output=True, text=True, check=True).stdout.split()[0]


@pytest.fixture
def address(archive: Path) -> Iterator[str]:
    """Where it is served."""
    handler = functools.partial(_Quiet, directory=str(archive))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_agent_stays(tmp_path: Path) -> Iterator[None]:
    """gpg starts a helper for each signer, which would live on."""
    yield
    for home in tmp_path.glob("*/private-keys-v1.d"):
        subprocess.run(["gpgconf", "--homedir", str(home.parent), "--kill", "all"], check=True)


def _key(tmp_path: Path, name: str) -> tuple[list[str], Path]:
    """A signer's gpg, and the keyring with its public key."""
    home = tmp_path / name
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", f"{name}@localhost", "rsa2048", "sign"], check=True, capture_output=True)
    keyring = tmp_path / f"{name}.gpg"
    keyring.write_bytes(subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout)
    keyring.chmod(0o644)
    return gpg, keyring


def _ask(tmp_path: Path, address: str, keyring: Path) -> str:
    """What the lab makes of it on a machine whose apt is told to take everything."""
    careless = tmp_path / "apt.conf.d"
    careless.mkdir()
    (careless / "99careless").write_text(CARELESS)
    seen = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(careless), "/etc/apt/apt.conf.d", "--"]
    command = [*seen, sys.executable, "-c", ASK, address, str(keyring), str(tmp_path / "taken")]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=120)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_a_repository_that_is_signed_by_whom_it_should_is_taken(tmp_path: Path, archive: Path, address: str) -> None:
    gpg, keyring = _key(tmp_path, "archive-key")
    _sign(gpg, archive)
    assert _ask(tmp_path, address, keyring) == "['hello_1_all.deb']"


@pytest.mark.parametrize("how", ["nobody", "a stranger", "tampered"])
def test_one_that_is_not_is_refused(how: str, tmp_path: Path, archive: Path, address: str) -> None:
    gpg, keyring = _key(tmp_path, "archive-key")
    if how == "a stranger":
        _sign(_key(tmp_path, "stranger")[0], archive)
    elif how == "tampered":
        _sign(gpg, archive)
        index = archive / "dists/stable/main/binary-amd64/Packages"
        index.write_text(index.read_text().replace("says hello", "does evil"))
    answer = _ask(tmp_path, address, keyring)
    assert answer.startswith("refused: kernel 6.12-x86_64: the archive cannot be read: E: "), answer
    assert not list((tmp_path / "taken").glob("*.deb"))


def _sign(gpg: list[str], archive: Path) -> None:
    release = archive / "dists/stable/Release"
    subprocess.run([*gpg, "--clear-sign", "--output", str(release.with_name("InRelease")), str(release)], check=True)
