"""Keys for tests, as a user makes them: with OpenSSL."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization


def certificate(path: Path) -> x509.Certificate:
    """From a PEM file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def openssl(folder: Path, *options: str, name: str = "own") -> tuple[Path, Path]:
    """A private key and its certificate, of that name."""
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
    first, last = (now + datetime.timedelta(days=each, hours=1) for each in (start, end))
    builder = x509.CertificateBuilder(old.subject, old.subject, old.public_key(), old.serial_number, first, last)
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    assert old.signature_hash_algorithm
    new = builder.sign(key, old.signature_hash_algorithm)  # type: ignore[arg-type]
    pem.write_bytes(new.public_bytes(serialization.Encoding.PEM))
