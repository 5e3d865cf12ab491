"""The signature that ends a kernel module: read, verified, taken off and put on by code of our own.

A signed module is: the module, a PKCS#7 message (DER, detached, without certificates), the twelve bytes of
`struct module_signature`, and a magic line (include/linux/module_signature.h). The kernel's check is repeated
here, so that a module that we pass on is one that the kernel would take. Modules are signed before they are
compressed: decompress first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from asn1crypto import cms
from asn1crypto.x509 import Certificate
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

MAGIC = b"~Module signature appended~\n"
TRAILER = struct.Struct(">5B3xI")
"""algorithm, hash, id_type, signer_len, key_id_len, padding, sig_len; for PKCS#7 only the third and last."""
ID_PKCS7 = 2
DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "1.3.14.3.2.26": hashes.SHA1(),  # noqa: S303 an old kernel may still be configured to sign with it; we only read it
    "2.16.840.1.101.3.4.2.4": hashes.SHA224(),
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
    "2.16.840.1.101.3.4.2.8": hashes.SHA3_256(),
    "2.16.840.1.101.3.4.2.9": hashes.SHA3_384(),
    "2.16.840.1.101.3.4.2.10": hashes.SHA3_512(),
}
"""Those that `sign-file` knows, by object identifier."""


class SignatureError(Exception):
    """A module has no signature, an unreadable one, or one that is not this certificate's of these bytes."""


@dataclass(frozen=True)
class Signature:
    """What a module's signature says of itself. Nothing of it is proved before `verify`."""

    issuer: bytes | None
    """The issuer in the signer's certificate, DER: the kernel compares its bytes. None where `key_id` is given."""
    serial: int | None
    """Of the signer's certificate."""
    key_id: bytes | None
    """The subject key identifier of the signer's certificate (`sign-file -k`)."""
    digest: str
    """sha256, sha512, ..."""
    value: bytes
    """The signature itself."""
    signed: bytes
    """The module without its signature: what the signature is of."""
    signer: str
    """For people: the issuer's name and the serial number in hexadecimal, or the key identifier."""


def read_signature(content: bytes) -> Signature | None:
    """The signature of a module's bytes, None when it has none. Raises SignatureError for a broken one."""
    module, message = _split(content)
    return _parse(message, module) if message is not None else None


def verify(content: bytes, certificate: x509.Certificate) -> None:
    """Check that a certificate's key signed all of a module's bytes. Raises SignatureError: why not."""
    found = read_signature(content)
    if not found:
        raise SignatureError("it is not signed")
    if not _names(found, certificate):
        raise SignatureError(f"it is signed by another key: {found.signer}")
    digest = next(each for each in DIGESTS.values() if each.name == found.digest)
    public = certificate.public_key()
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(found.value, found.signed, padding.PKCS1v15(), digest)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(found.value, found.signed, ec.ECDSA(digest))
        else:
            raise SignatureError("the certificate's key is neither RSA nor ECDSA")
    except InvalidSignature as problem:
        raise SignatureError("the signature does not match: the module was changed after it was signed") from problem


def stripped(module: bytes) -> bytes:
    """A module's bytes without any signature (it may carry several, one around the other)."""
    while True:
        module, message = _split(module)
        if message is None:
            return module


def attached(module: bytes, message: bytes) -> bytes:
    """A module's bytes with a detached PKCS#7 signature (DER) appended, as the kernel expects it."""
    return module + message + TRAILER.pack(0, 0, ID_PKCS7, 0, 0, len(message)) + MAGIC


def _split(content: bytes) -> tuple[bytes, bytes | None]:
    """The module, and the message of its outermost signature."""
    if not content.endswith(MAGIC):
        return content, None
    rest = content[: -len(MAGIC)]
    if len(rest) < TRAILER.size:
        raise SignatureError("its signature is cut off")
    algorithm, digest, id_type, signer, key_id, length = TRAILER.unpack(rest[-TRAILER.size :])
    rest = rest[: -TRAILER.size]
    if id_type != ID_PKCS7 or any((algorithm, digest, signer, key_id)):
        raise SignatureError("its signature is not PKCS#7")
    if not 0 < length < len(rest):
        raise SignatureError(f"its signature claims {length} of the file's {len(content)} bytes")
    return rest[:-length], rest[-length:]


def _parse(message: bytes, module: bytes) -> Signature:
    try:
        content = cms.ContentInfo.load(message, strict=True)
        _ = content.native  # asn1crypto parses no part before it is asked for; this asks for all
        return _read(content, module)
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise SignatureError(f"its signature is not PKCS#7: {str(problem).splitlines()[0]}") from problem


def _read(content: cms.ContentInfo, module: bytes) -> Signature:
    if content["content_type"].native != "signed_data":
        raise SignatureError(f"its signature is not PKCS#7 of signed data, but {content['content_type'].native}")
    signers = content["content"]["signer_infos"]
    if len(signers) != 1:
        raise SignatureError(f"its signature has {len(signers)} signers; sign-file makes one")
    signer = signers[0]
    if len(signer["signed_attrs"]):
        raise SignatureError("its signature is of attributes; sign-file signs the module itself")
    kind = signer["digest_algorithm"]["algorithm"].dotted
    if kind not in DIGESTS:
        raise SignatureError(f"its digest {kind} is unknown")
    digest, value, name = DIGESTS[kind].name, signer["signature"].native, signer["sid"].chosen
    if signer["sid"].name == "subject_key_identifier":
        return Signature(None, None, name.native, digest, value, module, f"key {name.native.hex()}")
    issuer, serial = name["issuer"], name["serial_number"].native
    parts = ", ".join(str(each["value"].native) for part in issuer.chosen for each in part)
    return Signature(issuer.dump(), serial, None, digest, value, module, f"{parts} (serial {serial:x})")


def _names(found: Signature, certificate: x509.Certificate) -> bool:
    """Does the signature name this certificate as its signer's?"""
    ours = Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
    if found.key_id is not None:
        return bool(found.key_id == ours.key_identifier)
    return (found.issuer, found.serial) == (ours.issuer.dump(), ours.serial_number)
