"""The key that modules are signed with, and the kernel's own sign-file that does it.

The lab makes a key for itself, once, outside the repository; a user may bring a PEM key and certificate
instead. Private keys stay on this machine: a build root sees one read-only, in a sandbox without network, for
as long as signing takes.
"""

from __future__ import annotations

import datetime
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock, Timeout

from kmodlab import sandbox, signature
from kmodlab.cache import filled, write_aside
from kmodlab.errors import LabError

Algorithm = Literal["rsa-3072", "rsa-2048", "ecdsa-p384"]
"""Debian's 5.10 and 6.1 know no ECDSA, so the lab takes RSA; some firmware takes no more than 2048 bits."""
MODULE_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.2312.16.1.2")
"""Extended key usage "kernel modules": shim starts no boot loader or kernel that such a key signed."""
PKCS7_DIGESTS = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
YEARS = 10
WARN_DAYS = 30
LOCK_SECONDS = 60.0
SIGN_SECONDS = 300.0
GROUP_AND_OTHERS = 0o077
WITH_PIN = 'IFS= read -r KBUILD_SIGN_PIN && export KBUILD_SIGN_PIN && exec "$@"'
"""How sign-file learns a passphrase: by its environment, never by an argument."""


@dataclass(frozen=True)
class SigningKey:
    """A private key and its certificate."""

    private: Path
    """PEM; readable by its owner only."""
    certificate: Path
    """PEM, for sign-file."""
    der: Path
    """The same certificate in DER, for UEFI variables and mokutil."""
    passphrase: str | None = field(default=None, repr=False)
    """Of the private key; never shown, never an argument."""


def config_dir() -> Path:
    """The user's settings, `${XDG_CONFIG_HOME:-~/.config}/kmodlab`: keys are kept, not cached."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kmodlab"


def chosen_key(config: Path | None = None) -> SigningKey:
    """The key of this run: the user's, where KMODLAB_SIGNING_KEY and _CERTIFICATE name one, else the lab's.

    KMODLAB_SIGNING_PASSPHRASE opens an encrypted private key. Raises LabError for a key that will not do.
    """
    private, certificate = (os.environ.get(f"KMODLAB_SIGNING_{part}") for part in ("KEY", "CERTIFICATE"))
    if not private and not certificate:
        return lab_key(config)
    if not private or not certificate:
        raise LabError("KMODLAB_SIGNING_KEY and KMODLAB_SIGNING_CERTIFICATE belong together: set both, or neither")
    return users_key(Path(private), Path(certificate), os.environ.get("KMODLAB_SIGNING_PASSPHRASE"), config)


def lab_key(config: Path | None = None, algorithm: Algorithm = "rsa-3072") -> SigningKey:
    """The lab's own key, made when there is none; a second maker waits for the first.

    Raises LabError where the folder is incomplete or its certificate has expired.
    """
    return _own_key(config, algorithm, algorithm, "module", [ExtendedKeyUsageOID.CODE_SIGNING, MODULE_SIGNING])


def kernel_key(config: Path | None = None) -> SigningKey:
    """The lab's key for the kernels of its Secure Boot machines, made when there is none; a key of its own, so
    that the one for modules starts no kernel. RSA-2048 is what every firmware takes.
    """
    return _own_key(config, "kernel", "rsa-2048", "kernel", [ExtendedKeyUsageOID.CODE_SIGNING])


def users_key(private: Path, certificate: Path, passphrase: str | None = None, config: Path | None = None) -> SigningKey:
    """A key that the user brings, checked: the two match, the key is private, valid, and for signing code.

    Raises LabError, one line that says what is wrong with which file.
    """
    key = SigningKey(private.absolute(), certificate.absolute(), certificate_file(certificate, config), passphrase)
    _check(key)
    return key


def certificate_file(certificate: Path, config: Path | None = None) -> Path:
    """A certificate (PEM or DER) as a DER file, which is what firmware and mokutil take; kept with the user's settings."""
    folder = (config or config_dir()) / "certificates"
    read = _certificate(certificate)
    folder.mkdir(parents=True, exist_ok=True)
    der = folder / f"{read.fingerprint(hashes.SHA256()).hex()[:16]}.der"
    write_aside(der, read.public_bytes(serialization.Encoding.DER))
    return der


def expiry_warning(certificate: Path, now: datetime.datetime | None = None) -> str | None:
    """A line for people when a certificate (PEM or DER) ends within WARN_DAYS days, else None."""
    end = _certificate(certificate).not_valid_after_utc
    left = end - (now or datetime.datetime.now(datetime.UTC))
    if left > datetime.timedelta(days=WARN_DAYS):
        return None
    if left < datetime.timedelta():
        return f"certificate {certificate} expired on {end:%Y-%m-%d}: make and enrol a new one"
    return f"certificate {certificate} expires on {end:%Y-%m-%d} ({left.days} days): make and enrol the next"


def sign_modules(root: Path, release: str, modules: Sequence[Path], key: SigningKey) -> None:
    """Sign module files in place, with the sign-file and digest of `release`, whose build root is `root`.

    A module that carries signatures loses them first. Each result is verified before it takes its module's
    name, and no module is touched unless all could be signed. Raises LabError.
    """
    if not modules:
        return
    settings = _kernel_settings(root, release)
    _check(key)
    _fits(settings, release, key)
    certificate = _certificate(key.certificate)
    with tempfile.TemporaryDirectory(prefix="kmodlab-sign-") as scratch:
        folder = Path(scratch)
        copies = [folder / f"{number}.ko" for number in range(len(modules))]
        for module, copy in zip(modules, copies, strict=True):
            copy.write_bytes(_unsigned(module))
        _run_sign_file(root, release, settings["CONFIG_MODULE_SIG_HASH"], folder, copies, key)
        for module, copy in zip(modules, copies, strict=True):
            try:
                signature.verify(copy, certificate)
            except signature.SignatureError as problem:
                raise LabError(f"{module}: sign-file of {release} left no good signature: {problem}") from problem
        for module, copy in zip(modules, copies, strict=True):
            write_aside(module, copy.read_bytes())


def sign_here(modules: Sequence[Path], key: SigningKey, digest: str = "sha256") -> list[Path]:
    """Sign module files in place on this machine: for modules of machines to which the key must not go.

    Makes what sign-file makes. Those that the key has signed already are left alone; returns the others.
    Raises LabError, and has then changed none.
    """
    _check(key)
    certificate = _certificate(key.certificate)
    signed = {module: _signed_here(_unsigned(module), key, digest) for module in modules if not _good(module, certificate)}
    for module, content in signed.items():
        write_aside(module, content)
    return list(signed)


def _signed_here(module: bytes, key: SigningKey, digest: str) -> bytes:
    algorithms: dict[str, pkcs7.PKCS7HashTypes] = {each.name: each for each in PKCS7_DIGESTS}
    if digest not in algorithms:
        raise LabError(f"digest {digest} is unknown: take one of {', '.join(algorithms)}")
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    options += [pkcs7.PKCS7Options.NoAttributes, pkcs7.PKCS7Options.NoCerts]
    private = _private_key(key.private, key.passphrase)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(module)
    builder = builder.add_signer(_certificate(key.certificate), private, algorithms[digest])
    return signature.attached(module, builder.sign(serialization.Encoding.DER, options))


def _good(module: Path, certificate: x509.Certificate) -> bool:
    try:
        signature.verify(module, certificate)
    except signature.SignatureError:
        return False
    except OSError as problem:
        raise LabError(f"module {module}: {problem.strerror}") from problem
    return True


def attach(module: Path, detached: Path, certificate: Path) -> None:
    """Append a detached signature (`sign-file -d`, DER) that was made elsewhere, once it is verified.

    Raises LabError; the module is then as it was.
    """
    try:
        content = signature.attached(_unsigned(module), detached.read_bytes())
    except OSError as problem:
        raise LabError(f"detached signature {detached}: {problem.strerror}; make it with `sign-file -d`") from problem
    with tempfile.TemporaryDirectory(prefix="kmodlab-sign-") as scratch:
        copy = Path(scratch) / module.name
        copy.write_bytes(content)
        try:
            signature.verify(copy, _certificate(certificate))
        except signature.SignatureError as problem:
            raise LabError(f"{detached} is no signature of {module} by {certificate}: {problem}") from problem
    write_aside(module, content)


def attach_all(modules: Sequence[Path], folder: Path, certificate: Path) -> list[Path]:
    """Attach NAME.ko.p7s of a folder to each module that has not its good signature yet; returns those. Raises LabError."""
    read = _certificate(certificate)
    wanting = [module for module in modules if not _good(module, read)]
    for module in wanting:
        attach(module, folder / f"{module.name}.p7s", certificate)
    return wanting


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as problem:
        raise LabError(
            f"cannot make the key folder {folder}: {problem.strerror}; set XDG_CONFIG_HOME to another place"
        ) from problem


@contextmanager
def _only_maker(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder.with_name(f"{folder.name}.lock"), timeout=LOCK_SECONDS):
            yield
    except Timeout as problem:
        raise LabError(f"another kmodlab is making the key in {folder}; try again") from problem


def _own_key(
    config: Path | None, folder_name: str, algorithm: Algorithm, signs: str, usages: list[x509.ObjectIdentifier]
) -> SigningKey:
    folder = (config or config_dir()) / "keys" / folder_name
    _private_folder(folder.parent)
    with _only_maker(folder):
        if not folder.exists():
            with filled(folder) as new:
                new.chmod(0o700)
                _make(new, algorithm, signs, usages)
    key = SigningKey(folder / "private.key", folder / "certificate.pem", folder / "certificate.der")
    if missing := [path.name for path in (key.private, key.certificate, key.der) if not path.exists()]:
        raise LabError(f"the lab's key in {folder} lacks {missing[0]}: bring it back, or remove the folder for a new key")
    _check(key)
    return key


def _make(folder: Path, algorithm: Algorithm, signs: str, usages: list[x509.ObjectIdentifier]) -> None:
    private = (
        ec.generate_private_key(ec.SECP384R1())
        if algorithm == "ecdsa-p384"
        else rsa.generate_private_key(65537, int(algorithm[4:]))
    )
    certificate = _self_signed(private, signs, usages)
    secret = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(folder / "private.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "certificate.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))


def _self_signed(
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, signs: str, usages: list[x509.ObjectIdentifier]
) -> x509.Certificate:
    """sign-file names the signer by issuer and serial number, so both are this certificate's own."""
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"kmodlab {signs} signing key {serial:040x}"[: len(signs) + 29])])
    day = datetime.timedelta(days=1)
    start = datetime.datetime.now(datetime.UTC) - day  # a board's clock may be behind
    usage = dict.fromkeys(_KEY_USAGES, False) | {"digital_signature": True}
    public = private.public_key()
    return (
        x509.CertificateBuilder(name, name, public, serial, start, start + 365 * YEARS * day)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(private, hashes.SHA256())
    )


_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _check(key: SigningKey) -> None:
    """Refuse what must not be used, before anything is signed with it."""
    certificate = _certificate(key.certificate)
    mode = _mode(key.private)
    if mode & GROUP_AND_OTHERS:
        raise LabError(f"private key {key.private} can be read by others (mode {mode:04o}): chmod 600 {key.private}")
    private = _private_key(key.private, key.passphrase)
    encoding = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*encoding) != certificate.public_key().public_bytes(*encoding):
        raise LabError(f"private key {key.private} does not match certificate {key.certificate}: give one pair")
    now = datetime.datetime.now(datetime.UTC)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end < now:
        raise LabError(f"certificate {key.certificate} expired on {end:%Y-%m-%d}: make a new key (docs/signing.md)")
    if start > now:
        raise LabError(f"certificate {key.certificate} is valid from {start:%Y-%m-%d} on only: set this machine's clock")
    _check_usage(key.certificate, certificate)


def _check_usage(path: Path, certificate: x509.Certificate) -> None:
    """A certificate without usages may do anything; one with usages must allow signing code or modules."""
    try:
        usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = {MODULE_SIGNING}
    if not usages & {
        ExtendedKeyUsageOID.CODE_SIGNING,
        MODULE_SIGNING,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }:
        raise LabError(f"certificate {path} is not for signing code: give one whose extended key usage has codeSigning")
    try:
        signs = certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = True
    if not signs:
        raise LabError(f"certificate {path} is not for signing: its key usage needs digitalSignature")


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode & 0o777
    except OSError as problem:
        raise LabError(f"private key {path}: {problem.strerror}") from problem


def _private_key(path: Path, passphrase: str | None) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode() if passphrase else None)
    except OSError as problem:
        raise LabError(f"private key {path}: {problem.strerror}") from problem
    except TypeError as problem:
        mend = (
            "has no passphrase: unset KMODLAB_SIGNING_PASSPHRASE"
            if passphrase
            else "is encrypted: set KMODLAB_SIGNING_PASSPHRASE"
        )
        raise LabError(f"private key {path} {mend}") from problem
    except ValueError as problem:
        what = "the passphrase is wrong, or it is not a PEM private key" if passphrase else "not a PEM private key"
        raise LabError(f"private key {path}: {what}") from problem
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise LabError(f"private key {path}: kernels know RSA and ECDSA signatures only")
    return private


def _certificate(path: Path) -> x509.Certificate:
    """A certificate from a PEM or DER file."""
    try:
        content = path.read_bytes()
        return x509.load_pem_x509_certificate(content) if b"-----BEGIN" in content else x509.load_der_x509_certificate(content)
    except OSError as problem:
        raise LabError(f"certificate {path}: {problem.strerror}") from problem
    except ValueError as problem:
        raise LabError(f"certificate {path}: not an X.509 certificate in PEM or DER") from problem


def _unsigned(module: Path) -> bytes:
    try:
        content = module.read_bytes()
    except OSError as problem:
        raise LabError(f"module {module}: {problem.strerror}") from problem
    if not content.startswith(b"\x7fELF"):
        raise LabError(f"module {module} is not an ELF file: sign it before it is compressed")
    try:
        return signature.stripped(content)
    except signature.SignatureError as problem:
        raise LabError(f"module {module}: {problem}; build it again") from problem


def _kernel_settings(root: Path, release: str) -> dict[str, str]:
    """What the kernel was configured with, by its headers. Raises LabError where it takes no signatures."""
    path = _headers(root, release) / "include/config/auto.conf"
    try:
        found = dict(re.findall(r'^(CONFIG_\w+)="?(.*?)"?$', path.read_text(), re.MULTILINE))
    except OSError as problem:
        raise LabError(f"kernel {release} cannot be signed for: {path}: {problem.strerror}; install its headers") from problem
    if "CONFIG_MODULE_SIG_HASH" not in found:
        raise LabError(f"kernel {release} cannot be signed for: it knows no module signatures (CONFIG_MODULE_SIG is off)")
    return found


def _fits(settings: dict[str, str], release: str, key: SigningKey) -> None:
    if (
        isinstance(_certificate(key.certificate).public_key(), ec.EllipticCurvePublicKey)
        and "CONFIG_CRYPTO_ECDSA" not in settings
    ):
        raise LabError(f"kernel {release} cannot check ECDSA signatures (CONFIG_CRYPTO_ECDSA): sign with an RSA key")


def _headers(root: Path, release: str) -> Path:
    """Where /lib/modules/RELEASE/build leads inside the root, absolute links included."""
    link = root / "lib/modules" / release / "build"
    try:
        target = link.readlink()
    except OSError as problem:
        raise LabError(f"kernel {release} cannot be signed for: {link}: {problem.strerror}; install its headers") from problem
    return root / target.relative_to("/") if target.is_absolute() else link.parent.resolve() / target


def _run_sign_file(root: Path, release: str, digest: str, folder: Path, copies: list[Path], key: SigningKey) -> None:
    """One sandbox signs all: names come through its stdin, after the passphrase that nobody else sees."""
    tool = f"/lib/modules/{release}/build/scripts/sign-file"
    private, certificate = Path("/tmp/key"), Path("/tmp/certificate")  # noqa: S108 the sandbox's own, in its memory
    answer = sandbox.run(
        root,
        [
            "sh",
            "-c",
            WITH_PIN,
            "sh",
            "xargs",
            "-0",
            "-n1",
            tool,
            digest,
            str(private),
            str(certificate),
        ],
        work=folder,
        read_only={key.private: private, key.certificate: certificate},
        stdin=f"{key.passphrase or ''}\n" + "\0".join(copy.name for copy in copies),
        limit=SIGN_SECONDS,
    )
    if answer.returncode:
        last = (answer.stdout.strip().splitlines() or ["no word"])[-1]
        raise LabError(f"kernel {release} cannot be signed for: {tool}: {last}")
