"""The keys that modules are signed with: made by the lab, outside the repository, or brought by a user.

There are two of the lab's own. What `make matrix` builds, whoever wrote it, is signed with one that lies in the cache and that no
machine but the lab's VMs is ever asked to trust. The other is for real machines; the matrix does not use it.
"""

from __future__ import annotations

import datetime
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock, Timeout

from kmodlab.ground.cache import cache_dir, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.sign.token import SCHEME, TokenKey

Algorithm = Literal["rsa-3072", "rsa-2048", "ecdsa-p384"]
"""Debian's 5.10 and 6.1 know no ECDSA, so the lab takes RSA; some firmware takes no more than 2048 bits."""
MODULE_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.2312.16.1.2")
"""Extended key usage "kernel modules": shim starts no boot loader or kernel that such a key signed."""
EARLIER = "rsa-3072"
"""The folder of the one key that version 0.1.0 made for everything."""
PASSPHRASE = "KMODLAB_SIGNING_PASSPHRASE"  # noqa: S105 - a variable's name
PASSPHRASE_FILE = f"{PASSPHRASE}_FILE"
YEARS = 10
WARN_DAYS = 30
LOCK_SECONDS = 60.0
GROUP_AND_OTHERS = 0o077


@dataclass(frozen=True)
class SigningKey:
    """A private key and its certificate."""

    private: Path | TokenKey
    """PEM, readable by its owner only; or in a token."""
    certificate: Path
    """PEM, for sign-file."""
    der: Path
    """The same certificate in DER, for UEFI variables and mokutil."""
    passphrase: str | None = field(default=None, repr=False)
    """Of the private key, or the token's PIN; never shown, never an argument."""


def config_dir() -> Path:
    """The user's settings, `${XDG_CONFIG_HOME:-~/.config}/kmodlab`: keys are kept, not cached."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kmodlab"


def chosen_key(home: Path | None = None) -> SigningKey:
    """The key of a run: the user's, where the environment names one, else the lab's throwaway key. LabError for a bad one."""
    return named_key() or lab_key(home)


def machines_key(config: Path | None = None) -> SigningKey:
    """The key for real machines: the user's, where the environment names one, else the lab's for that. LabError as above."""
    return named_key(config) or enrolled_key(config)


def named_key(config: Path | None = None) -> SigningKey | None:
    """The key that KMODLAB_SIGNING_KEY and KMODLAB_SIGNING_CERTIFICATE name, if they do; the former may be a pkcs11: URI.

    Its passphrase, or the token's PIN, is in the file that KMODLAB_SIGNING_PASSPHRASE_FILE names, or in
    KMODLAB_SIGNING_PASSPHRASE. Raises LabError for a key that will not do.
    """
    private, certificate = (os.environ.get(f"KMODLAB_SIGNING_{part}") for part in ("KEY", "CERTIFICATE"))
    if not private and not certificate:
        return None
    if not private or not certificate:
        raise LabError("KMODLAB_SIGNING_KEY and KMODLAB_SIGNING_CERTIFICATE belong together: set both, or neither")
    return users_key(private, Path(certificate), _passphrase(), config)


def _passphrase() -> str | None:
    path = os.environ.get(PASSPHRASE_FILE)
    if not path:
        return os.environ.get(PASSPHRASE)
    try:
        found = Path(path).stat()
        if stat.S_ISREG(found.st_mode) and found.st_mode & GROUP_AND_OTHERS:
            raise LabError(f"{PASSPHRASE_FILE}: {path} can be read by others: chmod 600 {path}")
        return Path(path).read_text().removesuffix("\n")
    except OSError as problem:
        raise LabError(f"{PASSPHRASE_FILE}: {path}: {problem.strerror}") from problem


def hide_passphrase() -> None:
    """Take a passphrase out of the environment, which every process that is started from here would get, and put it into a file
    in memory. What a process was started with can be read as long as it lives: so this one begins anew, with the same arguments.
    """
    path = os.environ.get(PASSPHRASE_FILE)
    if PASSPHRASE not in os.environ and (not path or Path(path).is_file()):
        return
    word = _passphrase() or ""  # a pipe's can be read once only
    os.environ.pop(PASSPHRASE, None)
    file = os.memfd_create("passphrase")
    os.fchmod(file, 0o600)
    os.write(file, word.encode())
    os.set_inheritable(file, True)
    os.environ[PASSPHRASE_FILE] = f"/proc/{os.getpid()}/fd/{file}"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - there is no shell


def lab_key(home: Path | None = None, algorithm: Algorithm = "rsa-3072") -> SigningKey:
    """The throwaway key that the lab signs with what it is given, and that only its own VMs trust; made when there is none, in
    the cache (or another home). A second maker waits for the first.

    Raises LabError where the folder is incomplete or its certificate has expired.
    """
    return _own_key(home or cache_dir(), algorithm, algorithm, "matrix", [ExtendedKeyUsageOID.CODE_SIGNING, MODULE_SIGNING])


def enrolled_key(config: Path | None = None) -> SigningKey:
    """The lab's key that real machines are asked to trust, made when there is none. Where an earlier version of the lab has made
    its one key for everything, machines may trust that already: it is this one then.
    """
    earlier = (config or config_dir()) / "keys" / EARLIER
    name = EARLIER if earlier.exists() else "enrolled"
    return _own_key(config, name, "rsa-3072", "module", [ExtendedKeyUsageOID.CODE_SIGNING, MODULE_SIGNING])


def kernel_key(config: Path | None = None) -> SigningKey:
    """The lab's key for the kernels of its Secure Boot machines, made when there is none; a key of its own, so
    that the one for modules starts no kernel. RSA-2048 is what every firmware takes.
    """
    return _own_key(config, "kernel", "rsa-2048", "kernel", [ExtendedKeyUsageOID.CODE_SIGNING])


def users_key(private: str | Path, certificate: Path, passphrase: str | None = None, config: Path | None = None) -> SigningKey:
    """A key that the user brings (a PEM file, or a pkcs11: URI), checked: the two match, the key is private, valid, and for
    signing code. Whether a token's key matches is known when it has signed.

    Raises LabError, one line that says what is wrong with which file.
    """
    place = TokenKey(str(private)) if str(private).startswith(SCHEME) else Path(private).absolute()
    key = SigningKey(place, certificate.absolute(), certificate_file(certificate, config), passphrase)
    check(key)
    return key


def certificate_file(certificate: Path, config: Path | None = None) -> Path:
    """A certificate (PEM or DER) as a DER file, which is what firmware and mokutil take; kept with the user's settings."""
    folder = (config or config_dir()) / "certificates"
    read = read_certificate(certificate)
    folder.mkdir(parents=True, exist_ok=True)
    der = folder / f"{read.fingerprint(hashes.SHA256()).hex()[:16]}.der"
    write_aside(der, read.public_bytes(serialization.Encoding.DER))
    return der


def expiry_warning(certificate: Path, now: datetime.datetime | None = None) -> str | None:
    """A line for people when a certificate (PEM or DER) ends within WARN_DAYS days, else None."""
    end = read_certificate(certificate).not_valid_after_utc
    left = end - (now or datetime.datetime.now(datetime.UTC))
    if left > datetime.timedelta(days=WARN_DAYS):
        return None
    if left < datetime.timedelta():
        return f"certificate {certificate} expired on {end:%Y-%m-%d}: make and enrol a new one"
    return f"certificate {certificate} expires on {end:%Y-%m-%d} ({left.days} days): make and enrol the next"


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as problem:
        raise LabError(
            f"cannot make the key folder {folder}: {problem.strerror}", hint="set XDG_CONFIG_HOME to another place"
        ) from problem


@contextmanager
def _only_maker(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder.with_name(f"{folder.name}.lock"), timeout=LOCK_SECONDS):
            yield
    except Timeout as problem:
        raise LabError(f"another kmodlab is making the key in {folder}", hint="try again") from problem


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
    private, pem, der = (folder / name for name in ("private.key", "certificate.pem", "certificate.der"))
    if missing := [path.name for path in (private, pem, der) if not path.exists()]:
        raise LabError(f"the lab's key in {folder} lacks {missing[0]}: bring it back, or remove the folder for a new key")
    key = SigningKey(private, pem, der)
    check(key)
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


def check(key: SigningKey) -> None:
    """Refuse what must not be used, before anything is signed with it. Raises LabError."""
    certificate = read_certificate(key.certificate)
    if isinstance(key.private, Path):
        _check_file(key.private, key.passphrase, key.certificate)
    now = datetime.datetime.now(datetime.UTC)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end < now:
        raise LabError(f"certificate {key.certificate} expired on {end:%Y-%m-%d}: make a new key (docs/signing.md)")
    if start > now:
        raise LabError(f"certificate {key.certificate} is valid from {start:%Y-%m-%d} on only: set this machine's clock")
    _check_usage(key.certificate, certificate)


def _check_file(path: Path, passphrase: str | None, certificate: Path) -> None:
    mode = _mode(path)
    if mode & GROUP_AND_OTHERS:
        raise LabError(f"private key {path} can be read by others (mode {mode:04o}): chmod 600 {path}")
    encoding = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ours, theirs = read_private_key(path, passphrase).public_key(), read_certificate(certificate).public_key()
    if ours.public_bytes(*encoding) != theirs.public_bytes(*encoding):
        raise LabError(f"private key {path} does not match certificate {certificate}: give one pair")


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


def read_private_key(path: Path, passphrase: str | None) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """A private key from a PEM file. Raises LabError: why that cannot be.

    Whether an RSA key's numbers are primes, which takes a tenth of a second, is not looked at: each signature is verified.
    """
    try:
        content, word = path.read_bytes(), passphrase.encode() if passphrase else None
        private = serialization.load_pem_private_key(content, word, unsafe_skip_rsa_key_validation=True)
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


def read_certificate(path: Path) -> x509.Certificate:
    """A certificate from a PEM or DER file."""
    try:
        content = path.read_bytes()
        return x509.load_pem_x509_certificate(content) if b"-----BEGIN" in content else x509.load_der_x509_certificate(content)
    except OSError as problem:
        raise LabError(f"certificate {path}: {problem.strerror}") from problem
    except ValueError as problem:
        raise LabError(f"certificate {path}: not an X.509 certificate in PEM or DER") from problem
