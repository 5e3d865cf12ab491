"""cryptosha256 and cryptosk: the kernel computes what sha256sum and openssl compute."""

import re
import shutil
import subprocess

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

# The default (None); the shortest text, texts around the ends of a block, and one of several blocks.
TEXTS = [None, "a", "0123456789abcde", "0123456789abcdef", "0123456789abcdefg", "x" * 55, "y" * 64, "z" * 200]


def field(texts: list[str], name: str) -> list[str]:
    """The rest of each log line that begins so."""
    return [text.partition(name)[2] for text in texts if name in text]


@pytest.mark.module("cryptosha256")
def test_hash_is_that_of_sha256sum(module: ModuleUnderTest, guest: Guest) -> None:
    for text in TEXTS:
        mark = guest.log.mark()
        module.load(*([] if text is None else [f"text={text}"]))
        module.unload()
        records = [record.text for record in guest.log.since(mark)]
        hashed = text or "This is a test"
        assert f'cryptosha256: sha256 test for string: "{hashed}"' in records
        expected = guest.sh("sha256sum", stdin=hashed).stdout.split()[0]
        assert field(records, "cryptosha256: sha256: ") == [expected], f"of {hashed!r}"


def openssl(text: str, password: str, iv: str) -> str:
    """AES-256-CBC with PKCS #7, as hex, by the openssl of this machine: targets need not have one."""
    assert shutil.which("openssl"), "openssl is missing on this machine: install the package openssl"
    key = password.encode().ljust(32, b"\0").hex()
    command = ["openssl", "enc", "-aes-256-cbc", "-K", key, "-iv", iv]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout.hex()


def encryption(module: ModuleUnderTest, guest: Guest, *parameters: str) -> tuple[str, str, str]:
    """Load with these parameters; return the vector, the encrypted text as hex, and the decrypted text."""
    mark = guest.log.mark()
    module.load(*parameters)
    module.unload()
    records = [record.text for record in guest.log.since(mark)]
    (iv,) = field(records, "cryptosk: iv: ")
    (decrypted,) = field(records, "cryptosk: decrypted: ")
    return iv, "".join(field(records, "cryptosk: encrypted: ")).replace(" ", ""), decrypted.strip('"')


@pytest.mark.module("cryptosk")
def test_encryption_is_that_of_openssl_and_decryption_gives_the_text_back(module: ModuleUnderTest, guest: Guest) -> None:
    for text in TEXTS:
        iv, encrypted, decrypted = encryption(module, guest, *([] if text is None else [f"text={text}"]))
        expected = text or "Testing encryption"
        assert encrypted == openssl(expected, "password123", iv), f"of {expected!r}"
        assert decrypted == expected


@pytest.mark.module("cryptosk")
def test_another_password_gives_another_result(module: ModuleUnderTest, guest: Guest) -> None:
    for password in ("p", "q" * 32):
        iv, encrypted, _ = encryption(module, guest, f"password={password}")
        assert encrypted == openssl("Testing encryption", password, iv)


@pytest.mark.module("cryptosk")
def test_vector_is_new_each_time(module: ModuleUnderTest, guest: Guest) -> None:
    assert len({encryption(module, guest)[0] for _ in range(3)}) == 3


@pytest.mark.module("cryptosk")
def test_password_longer_than_a_key_is_refused(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    result = module.load(f"password={'p' * 33}", check=False)
    assert result.rc != 0 and re.search(r"[Ii]nvalid", result.stderr), result
    guest.log.expect("the password is longer than 32 characters", since=mark)


@pytest.mark.module("cryptosk")
def test_password_is_neither_logged_nor_readable_by_all(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    module.load("password=swordfish")
    mode = guest.sh(f"stat -c %a /sys/module/{module.kname}/parameters/password").stdout.strip()
    module.unload()
    assert mode == "400"
    assert not [record.text for record in guest.log.since(mark) if "swordfish" in record.text]
