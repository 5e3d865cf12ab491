"""The lab's key is made once and kept private; misuse is refused in one line; nothing is half-signed."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from kmodlab import sandbox, signature, signing
from kmodlab.cache import cache_dir
from kmodlab.errors import LabError
from kmodlab.signing import SigningKey, lab_key, sign_modules, users_key

MODULE = b"\x7fELF" + bytes(range(256)) * 8
RELEASE = "6.12.1-test"


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


# The lab's own key


def test_the_labs_key_is_made_once_private_and_for_modules(tmp_path: Path) -> None:
    key = lab_key(tmp_path)
    assert stat.S_IMODE(key.private.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.private.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(key.private.parent.parent.stat().st_mode) == 0o700
    made = certificate(key.certificate)
    assert made == x509.load_der_x509_certificate(key.der.read_bytes())
    usages = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CODE_SIGNING, signing.MODULE_SIGNING}
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    identifier = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert issuer.key_identifier == identifier.digest
    assert made.not_valid_after_utc.year - made.not_valid_before_utc.year in (9, 10)
    before = key.private.read_bytes()
    assert lab_key(tmp_path) == key
    assert key.private.read_bytes() == before


def _fingerprint(config: Path) -> bytes:
    return lab_key(config, "rsa-2048").der.read_bytes()


def test_two_makers_at_once_get_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_fingerprint, [tmp_path, tmp_path])
    assert first == second


def test_a_killed_maker_leaves_no_half_a_key(tmp_path: Path) -> None:
    left = tmp_path / "keys" / "rsa-3072.part"
    left.mkdir(parents=True)
    (left / "private.key").write_text("half")
    assert lab_key(tmp_path).private.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    assert not left.exists()


def test_an_incomplete_key_folder_is_named(tmp_path: Path) -> None:
    lab_key(tmp_path).certificate.unlink()
    with pytest.raises(LabError, match=r"rsa-3072 lacks certificate\.pem: .*remove the folder for a new key"):
        lab_key(tmp_path)


def test_an_ecdsa_key_can_be_had_beside(tmp_path: Path) -> None:
    assert lab_key(tmp_path, "ecdsa-p384").private != lab_key(tmp_path).private


def test_a_key_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(LabError, match=f"cannot make the key folder {tmp_path}/keys.*XDG_CONFIG_HOME"):
        lab_key(tmp_path)


# The user's own key


def openssl(folder: Path, *options: str, name: str = "own") -> tuple[Path, Path]:
    private, pem = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-subj", "/CN=own", "-keyout", str(private), "-out", str(pem)]
    kind = [] if "-newkey" in options else ["-newkey", "rsa:2048"]
    plain = [] if "-passout" in options else ["-nodes"]
    subprocess.run([*command, *kind, *plain, *options], capture_output=True, check=True)
    private.chmod(0o600)
    return private, pem


def renewed(private: Path, pem: Path, start: int, end: int) -> None:
    """Give a certificate other days of validity, counted from today."""
    old, now = certificate(pem), datetime.datetime.now(datetime.UTC)
    days = [now + datetime.timedelta(days=each, hours=1) for each in (start, end)]
    builder = x509.CertificateBuilder(old.subject, old.subject, old.public_key(), old.serial_number, *days)
    key = load_pem_private_key(private.read_bytes(), None)
    assert old.signature_hash_algorithm
    new = builder.sign(key, old.signature_hash_algorithm)  # type: ignore[arg-type]
    pem.write_bytes(new.public_bytes(signing.serialization.Encoding.PEM))


def test_a_users_key_is_taken_as_it_is(tmp_path: Path) -> None:
    private, pem = openssl(tmp_path)
    key = users_key(private, pem, config=tmp_path / "config")
    assert (key.private, key.certificate) == (private, pem)
    assert x509.load_der_x509_certificate(key.der.read_bytes()) == certificate(pem)


def test_a_passphrase_opens_the_key_and_is_never_shown(tmp_path: Path) -> None:
    private, pem = openssl(tmp_path, "-passout", "pass:open sesame")
    key = users_key(private, pem, "open sesame", config=tmp_path)
    assert "sesame" not in repr(key)


def world_readable(private: Path, _: Path) -> None:
    private.chmod(0o644)


def gone(private: Path, _: Path) -> None:
    private.unlink()


def no_key(private: Path, _: Path) -> None:
    private.write_text("not a key")


def no_certificate(_: Path, pem: Path) -> None:
    pem.write_text("not a certificate")


def other_certificate(private: Path, pem: Path) -> None:
    openssl(private.parent, name="other")[1].replace(pem)


def expired(private: Path, pem: Path) -> None:
    renewed(private, pem, -30, -1)


def not_yet(private: Path, pem: Path) -> None:
    renewed(private, pem, 2, 30)


def for_a_web_server(private: Path, _: Path) -> None:
    openssl(private.parent, "-addext", "extendedKeyUsage=serverAuth")


def for_certificates_only(private: Path, _: Path) -> None:
    openssl(private.parent, "-addext", "keyUsage=keyCertSign")


def unknown_to_kernels(private: Path, _: Path) -> None:
    openssl(private.parent, "-newkey", "ed25519")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (world_readable, r"own\.key can be read by others \(mode 0644\): chmod 600 "),
        (gone, r"private key .*own\.key: No such file"),
        (no_key, r"private key .*own\.key: not a PEM private key"),
        (no_certificate, r"certificate .*own\.pem: not an X\.509 certificate"),
        (other_certificate, r"own\.key does not match certificate .*own\.pem"),
        (expired, r"own\.pem expired on \d{4}-\d\d-\d\d: make a new key"),
        (not_yet, r"own\.pem is valid from .* set this machine's clock"),
        (for_a_web_server, r"own\.pem is not for signing code"),
        (for_certificates_only, r"own\.pem is not for signing: .*digitalSignature"),
        (unknown_to_kernels, r"own\.key: kernels know RSA and ECDSA signatures only"),
    ],
)
def test_a_users_key_that_will_not_do_is_refused_in_one_line(
    tmp_path: Path, fault: Callable[[Path, Path], None], said: str
) -> None:
    private, pem = openssl(tmp_path)
    fault(private, pem)
    with pytest.raises(LabError, match=said) as problem:
        users_key(private, pem, config=tmp_path)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(("given", "said"), [("wrong", "the passphrase is wrong"), (None, "is encrypted: set")])
def test_a_wrong_or_missing_passphrase_is_said(tmp_path: Path, given: str | None, said: str) -> None:
    private, pem = openssl(tmp_path, "-passout", "pass:right")
    with pytest.raises(LabError, match=said):
        users_key(private, pem, given, config=tmp_path)


def test_the_environment_chooses_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, pem = openssl(tmp_path)
    monkeypatch.delenv("KMODLAB_SIGNING_CERTIFICATE", raising=False)
    monkeypatch.setenv("KMODLAB_SIGNING_KEY", str(private))
    with pytest.raises(LabError, match="belong together"):
        signing.chosen_key(tmp_path)
    monkeypatch.setenv("KMODLAB_SIGNING_CERTIFICATE", str(pem))
    assert signing.chosen_key(tmp_path).private == private
    monkeypatch.delenv("KMODLAB_SIGNING_KEY")
    monkeypatch.delenv("KMODLAB_SIGNING_CERTIFICATE")
    assert signing.chosen_key(tmp_path) == lab_key(tmp_path)


@pytest.mark.parametrize(("days", "said"), [(31, None), (29, "expires on .*29 days"), (-1, "expired on")])
def test_the_end_is_announced_thirty_days_ahead(tmp_path: Path, days: int, said: str | None) -> None:
    private, pem = openssl(tmp_path)
    renewed(private, pem, -60, days)
    warning = signing.expiry_warning(pem)
    assert re.search(said, warning or "") if said else warning is None


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

    def __call__(self, _: Path, command: list[str], *, work: Path, stdin: str, **__: object) -> subprocess.CompletedProcess[str]:
        self.command, self.stdin = command, stdin
        for number, name in enumerate(stdin.split("\n", 1)[1].split("\0")):
            if number == self.fails_at:
                return subprocess.CompletedProcess(command, 123, "sign-file: no space left on device\n")
            if not self.forgets:
                self._sign(work / name, command[-3])
        return subprocess.CompletedProcess(command, 0, "")

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
        signature.verify(module, certificate(key.certificate))
    found = signature.read_signature(modules[0])
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
    with pytest.raises(LabError, match=r"one\.ko: sign-file of .* left no good signature: it is not signed"):
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


def test_a_detached_signature_is_attached_once_it_is_verified(
    root: Path, key: SigningKey, modules: list[Path], tool: FakeSignFile, tmp_path: Path
) -> None:
    one, two = modules
    sign_modules(root, RELEASE, [one], key)
    detached = tmp_path / "one.p7s"
    detached.write_bytes(one.read_bytes()[len(MODULE) : -len(signature.MAGIC) - signature.TRAILER.size])
    two.write_bytes(MODULE + b"changed")
    with pytest.raises(LabError, match=r"one\.p7s is no signature of .*two\.ko"):
        signing.attach(two, detached, key.certificate)
    assert two.read_bytes() == MODULE + b"changed"
    signed = one.read_bytes()
    one.write_bytes(MODULE)
    signing.attach(one, detached, key.certificate)
    assert one.read_bytes() == signed


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ecdsa-p384"])
def test_signing_here_makes_what_sign_file_makes(
    root: Path, modules: list[Path], tmp_path: Path, algorithm: signing.Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = lab_key(tmp_path / "config", algorithm)
    monkeypatch.setattr(sandbox, "run", FakeSignFile(key))
    sign_modules(root, RELEASE, modules[:1], key)
    assert signing.sign_here(modules, key, "sha512") == modules[1:]
    signature.verify(modules[1], certificate(key.certificate))
    if algorithm == "rsa-2048":  # ECDSA is never twice the same
        assert signature.read_signature(modules[1]) == signature.read_signature(modules[0])
    assert signing.sign_here(modules, key) == []


def test_signing_here_replaces_the_key_that_was_before(key: SigningKey, modules: list[Path], tmp_path: Path) -> None:
    signing.sign_here(modules, lab_key(tmp_path / "older", "rsa-2048"))
    assert signing.sign_here(modules, key) == modules
    signature.verify(modules[0], certificate(key.certificate))
    assert signature.stripped(modules[0].read_bytes()) == MODULE


def test_signing_here_changes_nothing_when_one_cannot_be_signed(key: SigningKey, modules: list[Path]) -> None:
    modules[1].write_bytes(b"\xfd7zXZ\0")
    with pytest.raises(LabError, match=r"two\.ko is not an ELF file"):
        signing.sign_here(modules, key)
    with pytest.raises(LabError, match="digest md5 is unknown"):
        signing.sign_here(modules[:1], key, "md5")
    assert modules[0].read_bytes() == MODULE


# With the kernel's own tool, where a build root is at hand

PROBE = 'MODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("Loads, and does nothing");\n'


def build_roots() -> list[tuple[Path, str]]:
    """This machine's build roots, with the kernel release of each: KMODLAB_TEST_ROOTS, or the cache's."""
    given = os.environ.get("KMODLAB_TEST_ROOTS", "").split()
    folders = [Path(each) for each in given] or sorted((cache_dir() / "images").glob("*-build-*/root"))
    releases = {link.parent.name: folder for folder in folders for link in (folder / "lib/modules").glob("*/build")}
    return [(folder, release) for release, folder in releases.items()]


@pytest.mark.skipif(not build_roots(), reason="no build root: make images first, or name some in KMODLAB_TEST_ROOTS")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize(("root", "release"), build_roots())
def test_the_kernels_own_tool_signs_a_real_module(root: Path, release: str, encrypted: bool, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "probe.c").write_text(f"#include <linux/module.h>\n{PROBE}")
    (source / "Kbuild").write_text("obj-m := probe.o\n")
    command = ["make", "-C", f"/lib/modules/{release}/build", f"M={sandbox.WORK}", "modules"]
    answer = sandbox.run(root, command, work=source, limit=120)
    assert answer.returncode == 0, answer.stdout
    module = source / "probe.ko"
    unsigned = module.read_bytes()
    words = "two words"
    private, pem = openssl(tmp_path, *(["-passout", f"pass:{words}"] if encrypted else []))
    key = users_key(private, pem, words if encrypted else None, config=tmp_path)
    sign_modules(root, release, [module], key)
    signature.verify(module, certificate(pem))
    assert signature.stripped(module.read_bytes()) == unsigned
    modinfo = subprocess.run(["modinfo", "-F", "signer", str(module)], capture_output=True, text=True, check=True)
    assert modinfo.stdout.strip() == "own"
