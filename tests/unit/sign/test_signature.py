"""A module's signature, as OpenSSL (as in sign-file) makes it, and each way to be wrong."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from kmodlab.sign import signature
from kmodlab.sign.keys import Algorithm, SigningKey, lab_key
from kmodlab.sign.signature import MAGIC, SignatureError, attached, read_signature, stripped, verify

MODULE = b"\x7fELF" + bytes(range(256)) * 8


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SigningKey]:
    def one(name: str, algorithm: Algorithm) -> SigningKey:
        return lab_key(tmp_path_factory.mktemp(name), algorithm)

    return {
        "rsa": one("rsa", "rsa-2048"),
        "ecdsa": one("ecdsa", "ecdsa-p384"),
        "stranger": one("stranger", "rsa-2048"),
    }


def cms(content: bytes, key: SigningKey, *options: str, digest: str = "sha256") -> bytes:
    """What sign-file appends: a detached CMS message without attributes and certificates."""
    command = [
        *("openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", "-outform", "DER"),
        *("-md", digest, "-signer", str(key.certificate), "-inkey", str(key.private), *options),
    ]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


def certificate(key: SigningKey) -> x509.Certificate:
    return x509.load_pem_x509_certificate(key.certificate.read_bytes())


def signed(key: SigningKey, *options: str, digest: str = "sha256", content: bytes = MODULE) -> bytes:
    return attached(content, cms(content, key, *options, digest=digest))


@pytest.fixture
def ko(tmp_path: Path) -> Path:
    return tmp_path / "probe.ko"


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("name", ["rsa", "ecdsa"])
def test_a_good_signature_names_its_signer_and_digest(keys: dict[str, SigningKey], ko: Path, name: str, digest: str) -> None:
    ko.write_bytes(signed(keys[name], digest=digest))
    found = read_signature(ko.read_bytes())
    assert found
    assert found.digest == digest
    assert found.serial == certificate(keys[name]).serial_number
    assert "kmodlab matrix signing key" in found.signer
    assert found.signed == MODULE
    verify(ko.read_bytes(), certificate(keys[name]))


def test_a_signer_named_by_its_key_identifier_is_found_too(keys: dict[str, SigningKey], ko: Path) -> None:
    ko.write_bytes(signed(keys["rsa"], "-keyid"))
    found = read_signature(ko.read_bytes())
    assert found
    assert found.key_id
    assert found.issuer is None
    verify(ko.read_bytes(), certificate(keys["rsa"]))
    with pytest.raises(SignatureError, match="another key"):
        verify(ko.read_bytes(), certificate(keys["stranger"]))


def test_an_issuer_in_several_parts_and_text_types_is_compared_as_a_whole(tmp_path: Path, ko: Path) -> None:
    private, pem = tmp_path / "own.key", tmp_path / "own.pem"
    subject = "/C=NL/O=A school/CN=modules of a classroom"  # C is a PrintableString, the others UTF8String
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", subject]
    subprocess.run([*command, "-keyout", str(private), "-out", str(pem)], capture_output=True, check=True)
    key = SigningKey(private, pem, pem)
    ko.write_bytes(signed(key))
    verify(ko.read_bytes(), certificate(key))
    found = read_signature(ko.read_bytes())
    assert found
    assert "NL, A school, modules of a classroom" in found.signer


def test_an_unsigned_module_has_no_signature(keys: dict[str, SigningKey], ko: Path) -> None:
    ko.write_bytes(MODULE)
    assert read_signature(ko.read_bytes()) is None
    with pytest.raises(SignatureError, match="not signed"):
        verify(ko.read_bytes(), certificate(keys["rsa"]))


def test_a_strangers_signature_is_refused_and_he_is_named(keys: dict[str, SigningKey], ko: Path) -> None:
    ko.write_bytes(signed(keys["stranger"]))
    with pytest.raises(SignatureError, match=f"another key.*{certificate(keys['stranger']).serial_number:x}"):
        verify(ko.read_bytes(), certificate(keys["rsa"]))


def test_a_stranger_under_our_name_is_refused(keys: dict[str, SigningKey], ko: Path, tmp_path: Path) -> None:
    ours = certificate(keys["rsa"])
    forged = tmp_path / "forged.pem"
    name = ours.subject.rfc4514_string().replace("CN=", "/CN=")
    command = ["openssl", "req", "-x509", "-key", str(keys["stranger"].private), "-subj", name]
    subprocess.run(
        [*command, "-set_serial", str(ours.serial_number), "-out", str(forged)],
        capture_output=True,
        check=True,
    )
    ko.write_bytes(signed(SigningKey(keys["stranger"].private, forged, forged)))
    with pytest.raises(SignatureError, match="does not match"):
        verify(ko.read_bytes(), ours)


@pytest.mark.parametrize("name", ["rsa", "ecdsa"])
def test_one_changed_byte_anywhere_is_refused(keys: dict[str, SigningKey], ko: Path, name: str) -> None:
    """In the module, the message, the trailer and the magic: nothing but SignatureError."""
    good, ours = signed(keys[name]), certificate(keys[name])
    accepted = []
    for position in [*range(0, len(MODULE), 97), *range(len(MODULE), len(good))]:
        ko.write_bytes(good[:position] + bytes([good[position] ^ 0x21]) + good[position + 1 :])
        try:
            verify(ko.read_bytes(), ours)
        except SignatureError:
            continue
        accepted.append(position - len(MODULE))
    # What no signature covers: identifiers that OpenSSL and the kernel read past, and the trailer's padding.
    assert all(position >= 0 for position in accepted)
    assert len(accepted) < 40


def test_a_truncated_module_is_never_accepted(keys: dict[str, SigningKey], ko: Path) -> None:
    good, ours = signed(keys["rsa"]), certificate(keys["rsa"])
    for length in range(len(MODULE) - 8, len(good)):
        ko.write_bytes(good[:length])
        with pytest.raises(SignatureError):
            verify(ko.read_bytes(), ours)


def test_garbage_after_the_magic_makes_it_unsigned(keys: dict[str, SigningKey], ko: Path) -> None:
    ko.write_bytes(signed(keys["rsa"]) + b"\0")
    assert read_signature(ko.read_bytes()) is None


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (MAGIC, "claims|cut off|not PKCS#7"),
        (b"message" + struct.pack(">5B3xI", 0, 0, 2, 0, 0, 7) + MAGIC, "not PKCS#7"),
        (b"message" + struct.pack(">5B3xI", 0, 0, 2, 0, 0, 2**32 - 1) + MAGIC, "claims 4294967295"),
        (b"message" + struct.pack(">5B3xI", 0, 0, 2, 0, 0, 0) + MAGIC, "claims 0"),
        (b"message" + struct.pack(">5B3xI", 1, 4, 1, 0, 0, 7) + MAGIC, "not PKCS#7"),
    ],
    ids=["nothing", "garbage", "too long", "empty", "the old kind of signature"],
)
def test_a_broken_trailer_is_an_error_that_says_so(ko: Path, tail: bytes, reason: str) -> None:
    ko.write_bytes(MODULE + tail)
    with pytest.raises(SignatureError, match=reason):
        read_signature(ko.read_bytes())


def der(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x83]) + len(content).to_bytes(3, "big") + content


def test_a_message_that_nests_without_end_is_an_error_that_says_so() -> None:
    """Where anything may stand, as in a signer's attributes: whoever reads it must not run out of stack."""
    deep = b""
    for _ in range(2000):
        deep = der(0x30, deep)
    attribute = der(0x30, b"\x06\x03\x2a\x03\x04" + der(0x31, deep))
    sha256 = bytes.fromhex("300b0609608648016503040201")
    signer = der(0x30, b"\x02\x01\x03" + b"\x80\x01x" + sha256 + sha256 + b"\x04\x01x" + der(0xA1, attribute))
    data = bytes.fromhex("300b06092a864886f70d010701")
    signed_data = der(0x30, b"\x02\x01\x03" + der(0x31, sha256) + data + der(0x31, signer))
    message = der(0x30, bytes.fromhex("06092a864886f70d010702") + der(0xA0, signed_data))
    for hostile in (message, b"\x30\x80" * 2000):
        with pytest.raises(SignatureError, match=r"not PKCS#7: .*recursion"):
            read_signature(attached(MODULE * 20, hostile))


def test_two_signers_or_signed_attributes_are_not_what_sign_file_makes(keys: dict[str, SigningKey], ko: Path) -> None:
    other = keys["stranger"]
    ko.write_bytes(signed(keys["rsa"], "-signer", str(other.certificate), "-inkey", str(other.private)))
    with pytest.raises(SignatureError, match="2 signers"):
        read_signature(ko.read_bytes())
    command = ["openssl", "cms", "-sign", "-binary", "-nocerts", "-outform", "DER", "-md", "sha256"]
    keyed = [*command, "-signer", str(keys["rsa"].certificate), "-inkey", str(keys["rsa"].private)]
    message = subprocess.run(keyed, input=MODULE, capture_output=True, check=True).stdout
    ko.write_bytes(attached(MODULE, message))
    with pytest.raises(SignatureError, match="attributes"):
        read_signature(ko.read_bytes())


def test_stripping_takes_off_every_signature(keys: dict[str, SigningKey]) -> None:
    once = signed(keys["rsa"])
    twice = signed(keys["stranger"], content=once)
    assert stripped(twice) == stripped(once) == stripped(MODULE) == MODULE


def test_every_digest_of_sign_file_has_its_own_name() -> None:
    assert len({each.name for each in signature.DIGESTS.values()}) == len(signature.DIGESTS)
