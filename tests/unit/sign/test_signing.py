"""Modules are signed as sign-file does it; what cannot be signed is refused in one line; nothing is half-signed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from own_key import certificate, openssl

from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.sandbox import Answer
from kmodlab.sign import signature, signing
from kmodlab.sign.keys import Algorithm, SigningKey, lab_key, users_key
from kmodlab.sign.signing import sign_modules

MODULE = b"\x7fELF" + bytes(range(256)) * 8
RELEASE = "6.12.1-test"


# Signing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A build root as far as its headers go, with an absolute link to them, as in Debian 11 and 12."""
    root = tmp_path / "root"
    headers = root / "usr/src" / f"linux-headers-{RELEASE}"
    (headers / "include/config").mkdir(parents=True)
    (root / "lib/modules" / RELEASE).mkdir(parents=True)
    (root / "lib/modules" / RELEASE / "build").symlink_to(f"/usr/src/linux-headers-{RELEASE}")
    settings = 'CONFIG_MODULE_SIG=y\nCONFIG_MODULE_SIG_HASH="sha512"\nCONFIG_CRYPTO_ECDSA=y\n'
    (headers / "include/config/auto.conf").write_text(settings)
    return root


def auto_conf(root: Path) -> Path:
    return root / "usr/src" / f"linux-headers-{RELEASE}/include/config/auto.conf"


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return lab_key(tmp_path / "config", "rsa-2048")


@pytest.fixture
def modules(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "one.ko", tmp_path / "two.ko"]
    for path in paths:
        path.write_bytes(MODULE)
    return paths


class FakeSignFile:
    """Stands in for the sandbox: signs as sign-file does, with this machine's OpenSSL."""

    def __init__(self, key: SigningKey) -> None:
        self.key = key
        self.fails_at = -1
        self.forgets = False
        self.command: list[str] = []
        self.stdin = ""

    def __call__(self, _: Path, command: list[str], *, work: Path, stdin: str, **__: object) -> Answer:
        self.command, self.stdin = command, stdin
        for number, name in enumerate(stdin.split("\n", 1)[1].split("\0")):
            if number == self.fails_at:
                return Answer(123, "sign-file: no space left on device\n")
            if not self.forgets:
                self._sign(work / name, command[-3])
        return Answer(0, "")

    def _sign(self, path: Path, digest: str) -> None:
        content = path.read_bytes()
        command = [
            "openssl",
            "cms",
            "-sign",
            "-binary",
            "-noattr",
            "-nocerts",
            "-outform",
            "DER",
            "-md",
            digest,
        ]
        keyed = [*command, "-signer", str(self.key.certificate), "-inkey", str(self.key.private)]
        message = subprocess.run(keyed, input=content, capture_output=True, check=True).stdout
        path.write_bytes(signature.attached(content, message))


@pytest.fixture
def tool(key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> FakeSignFile:
    fake = FakeSignFile(key)
    monkeypatch.setattr(sandbox, "run", fake)
    return fake


def test_all_modules_are_signed_with_the_kernels_own_digest(
    root: Path, key: SigningKey, modules: list[Path], tool: FakeSignFile
) -> None:
    sign_modules(root, RELEASE, modules, key)
    for module in modules:
        signature.verify(module.read_bytes(), certificate(key.certificate))
    found = signature.read_signature(modules[0].read_bytes())
    assert found
    assert found.digest == "sha512"
    assert tool.command[-4:-2] == [f"/lib/modules/{RELEASE}/build/scripts/sign-file", "sha512"]


def test_signing_again_replaces_the_signature(root: Path, key: SigningKey, modules: list[Path], tool: FakeSignFile) -> None:
    sign_modules(root, RELEASE, modules, key)
    once = modules[0].read_bytes()
    sign_modules(root, RELEASE, modules, key)
    assert modules[0].read_bytes() == once
    assert tool.stdin.startswith("\n")


def test_nothing_is_touched_when_one_cannot_be_signed(
    root: Path, key: SigningKey, modules: list[Path], tool: FakeSignFile, tmp_path: Path
) -> None:
    tool.fails_at = 1
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LabError, match=f"kernel {RELEASE} cannot be signed for: .*no space left on device"):
        sign_modules(root, RELEASE, modules, key)
    assert [module.read_bytes() for module in modules] == [MODULE, MODULE]
    assert sorted(tmp_path.iterdir()) == before


def test_a_tool_that_lies_is_found_out(root: Path, key: SigningKey, modules: list[Path], tool: FakeSignFile) -> None:
    tool.forgets = True
    with pytest.raises(LabError, match=r"module .*one\.ko got no good signature by .*certificate\.pem: it is not signed"):
        sign_modules(root, RELEASE, modules, key)
    assert modules[0].read_bytes() == MODULE


def test_the_passphrase_is_no_argument(root: Path, modules: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, pem = openssl(tmp_path, "-passout", "pass:open sesame")
    key = users_key(private, pem, "open sesame", config=tmp_path)
    tool = FakeSignFile(key)
    tool.fails_at = 0
    monkeypatch.setattr(sandbox, "run", tool)
    with pytest.raises(LabError) as problem:
        sign_modules(root, RELEASE, modules, key)
    assert "sesame" not in f"{tool.command} {problem.value}"
    assert tool.stdin.startswith("open sesame\n")


def no_signatures(root: Path, _: Path) -> None:
    auto_conf(root).write_text("CONFIG_MODULES=y\n")


def no_headers(root: Path, _: Path) -> None:
    shutil.rmtree(root / "usr/src")


def no_link(root: Path, _: Path) -> None:
    (root / "lib/modules" / RELEASE / "build").unlink()


def compressed(_: Path, module: Path) -> None:
    module.write_bytes(b"\xfd7zXZ\0")


def broken_trailer(_: Path, module: Path) -> None:
    module.write_bytes(MODULE + signature.MAGIC)


def no_module(_: Path, module: Path) -> None:
    module.unlink()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (no_signatures, "cannot be signed for: it knows no module signatures"),
        (no_headers, r"cannot be signed for: .*auto\.conf: No such file.*; install its headers"),
        (no_link, "cannot be signed for: .*build: No such file.*; install its headers"),
        (compressed, r"two\.ko is not an ELF file: sign it before it is compressed"),
        (broken_trailer, r"two\.ko: its signature .*; build it again"),
        (no_module, r"two\.ko: No such file"),
    ],
)
@pytest.mark.usefixtures("tool")
def test_what_cannot_be_signed_is_said_in_one_line(
    root: Path, key: SigningKey, modules: list[Path], fault: Callable[[Path, Path], None], said: str
) -> None:
    fault(root, modules[1])
    with pytest.raises(LabError, match=said) as problem:
        sign_modules(root, RELEASE, modules, key)
    assert "\n" not in str(problem.value)
    assert modules[0].read_bytes() == MODULE


@pytest.mark.usefixtures("tool")
def test_a_kernel_without_ecdsa_is_not_given_an_ecdsa_signature(root: Path, modules: list[Path], tmp_path: Path) -> None:
    auto_conf(root).write_text('CONFIG_MODULE_SIG_HASH="sha256"\n')
    with pytest.raises(LabError, match=r"cannot check ECDSA signatures .*: sign with an RSA key"):
        sign_modules(root, RELEASE, modules, lab_key(tmp_path, "ecdsa-p384"))


@pytest.fixture
def elsewhere(key: SigningKey, modules: list[Path], tmp_path: Path) -> Path:
    """A folder with the detached signatures of both modules, which are unsigned again."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    signing.sign_here(modules, key)
    for module in modules:
        message = module.read_bytes()[len(MODULE) : -len(signature.MAGIC) - signature.TRAILER.size]
        (folder / f"{module.name}.p7s").write_bytes(message)
        module.write_bytes(MODULE)
    return folder


def test_detached_signatures_are_attached(key: SigningKey, modules: list[Path], elsewhere: Path) -> None:
    assert signing.attach(modules, elsewhere, key.certificate) == modules
    for module in modules:
        signature.verify(module.read_bytes(), certificate(key.certificate))
    assert signing.attach(modules, elsewhere, key.certificate) == []


def not_there(detached: Path, _: Path) -> None:
    detached.unlink()


def of_another_version(_: Path, module: Path) -> None:
    module.write_bytes(MODULE + b"changed")


def of_another_key(detached: Path, module: Path) -> None:
    stranger = lab_key(detached.parent / "stranger", "rsa-2048")
    signing.sign_here([module], stranger)
    detached.write_bytes(module.read_bytes()[len(MODULE) : -len(signature.MAGIC) - signature.TRAILER.size])


def no_signature(detached: Path, _: Path) -> None:
    detached.write_bytes(b"garbage")


@pytest.mark.parametrize("fault", [not_there, of_another_version, of_another_key, no_signature])
def test_what_lacks_its_signature_is_handed_out_to_be_signed_and_nothing_is_half_signed(
    key: SigningKey, modules: list[Path], elsewhere: Path, fault: Callable[[Path, Path], None]
) -> None:
    one, two = modules
    fault(elsewhere / "two.ko.p7s", two)
    before = two.read_bytes()
    with pytest.raises(LabError, match=r"two\.ko in .*elsewhere must be signed where the key is; run `sign-file -d") as problem:
        signing.attach(modules, elsewhere, key.certificate)
    assert "one.ko" not in str(problem.value)
    assert (elsewhere / "two.ko").read_bytes() == signature.stripped(before)
    assert [one.read_bytes(), two.read_bytes()] == [MODULE, before]


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ecdsa-p384"])
def test_signing_here_makes_what_sign_file_makes(
    root: Path, modules: list[Path], tmp_path: Path, algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = lab_key(tmp_path / "config", algorithm)
    monkeypatch.setattr(sandbox, "run", FakeSignFile(key))
    sign_modules(root, RELEASE, modules[:1], key)
    assert signing.sign_here(modules, key, "sha512") == modules[1:]
    signature.verify(modules[1].read_bytes(), certificate(key.certificate))
    if algorithm == "rsa-2048":  # ECDSA is never twice the same
        assert signature.read_signature(modules[1].read_bytes()) == signature.read_signature(modules[0].read_bytes())
    assert signing.sign_here(modules, key) == []


def test_signing_here_replaces_the_key_that_was_before(key: SigningKey, modules: list[Path], tmp_path: Path) -> None:
    signing.sign_here(modules, lab_key(tmp_path / "older", "rsa-2048"))
    assert signing.sign_here(modules, key) == modules
    signature.verify(modules[0].read_bytes(), certificate(key.certificate))
    assert signature.stripped(modules[0].read_bytes()) == MODULE


def test_signing_here_changes_nothing_when_one_cannot_be_signed(key: SigningKey, modules: list[Path]) -> None:
    modules[1].write_bytes(b"\xfd7zXZ\0")
    with pytest.raises(LabError, match=r"two\.ko is not an ELF file"):
        signing.sign_here(modules, key)
    with pytest.raises(LabError, match="digest md5 is unknown"):
        signing.sign_here(modules[:1], key, "md5")
    assert modules[0].read_bytes() == MODULE
