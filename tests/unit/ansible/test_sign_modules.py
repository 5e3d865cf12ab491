"""The task that signs: each way to bring a key, each fault in one line, nothing secret in what it says or leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_module import answer_of
from cryptography import x509
from own_key import certificate, openssl, renewed

from kmodlab.sign import signature

MODULE = b"\x7fELF" + bytes(range(256)) * 8
WORDS = "open sesame"


@pytest.fixture
def ko(tmp_path: Path) -> Path:
    path = tmp_path / "one.ko"
    path.write_bytes(MODULE)
    return path


def sign(ko: Path, **arguments: Any) -> dict[str, Any]:
    """The task's answer; a temporary folder of its own shows what is left there."""
    scratch = ko.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    said = answer_of("sign_modules", {"files": [str(ko)], **arguments}, TMPDIR=str(scratch))
    assert list(scratch.iterdir()) == []
    return said


def test_without_a_key_the_labs_own_signs(ko: Path) -> None:
    first, second = sign(ko), sign(ko)
    assert (first["changed"], first["signed"]) == (True, [str(ko)])
    assert (second["changed"], second["signed"]) == (False, [])
    read = x509.load_der_x509_certificate(Path(first["certificate"]).read_bytes())
    signature.verify(ko.read_bytes(), read)


def test_a_key_from_a_vault_signs_and_is_nowhere_afterwards(ko: Path, tmp_path: Path) -> None:
    private, pem = openssl(tmp_path, "-passout", f"pass:{WORDS}")
    content = private.read_text()
    private.unlink()
    said = sign(ko, private_key_content=content, certificate_content=pem.read_text(), passphrase=WORDS)
    assert said["changed"], said
    signature.verify(ko.read_bytes(), certificate(pem))
    shown = json.dumps({key: value for key, value in said.items() if key != "invocation"})
    assert WORDS not in json.dumps(said)
    assert content.splitlines()[1] not in json.dumps(said)
    assert "PRIVATE KEY" not in shown


def test_files_of_ones_own_sign(ko: Path, tmp_path: Path) -> None:
    private, pem = openssl(tmp_path)
    assert sign(ko, private_key=str(private), certificate=str(pem))["changed"]
    signature.verify(ko.read_bytes(), certificate(pem))


def test_an_end_within_thirty_days_is_warned_of(ko: Path, tmp_path: Path) -> None:
    private, pem = openssl(tmp_path)
    renewed(private, pem, -30, 29)
    assert "29 days" in str(sign(ko, private_key=str(private), certificate=str(pem))["warnings"])


def readable(private: Path, _: Path) -> None:
    private.chmod(0o640)


def mismatched(private: Path, pem: Path) -> None:
    openssl(private.parent, name="other")[1].replace(pem)


def expired(private: Path, pem: Path) -> None:
    renewed(private, pem, -30, -1)


def no_certificate(_: Path, pem: Path) -> None:
    pem.unlink()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (readable, "chmod 600"),
        (mismatched, "does not match certificate"),
        (expired, "expired on"),
        (no_certificate, "No such file"),
    ],
)
def test_a_key_that_will_not_do_is_said_in_one_line_and_nothing_is_signed(
    ko: Path, tmp_path: Path, fault: Callable[[Path, Path], None], said: str
) -> None:
    private, pem = openssl(tmp_path)
    fault(private, pem)
    answer = sign(ko, private_key=str(private), certificate=str(pem))
    assert answer["failed"]
    assert said in answer["msg"]
    assert "\n" not in answer["msg"]
    assert ko.read_bytes() == MODULE


def test_a_wrong_passphrase_is_not_repeated(ko: Path, tmp_path: Path) -> None:
    private, pem = openssl(tmp_path, "-passout", "pass:right")
    answer = sign(ko, private_key=str(private), certificate=str(pem), passphrase=WORDS)
    assert answer["failed"]
    assert "passphrase is wrong" in answer["msg"]
    assert WORDS not in json.dumps(answer)
    assert ko.read_bytes() == MODULE


def test_what_must_be_signed_elsewhere_is_handed_out(ko: Path, tmp_path: Path) -> None:
    _, pem = openssl(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    answer = sign(ko, detached=str(tmp_path / "elsewhere"), certificate=str(pem))
    assert answer["failed"]
    assert "one.ko in" in answer["msg"]
    assert (tmp_path / "elsewhere/one.ko").read_bytes() == ko.read_bytes() == MODULE


def test_two_ways_at_once_are_refused(ko: Path, tmp_path: Path) -> None:
    private, pem = openssl(tmp_path)
    answer = sign(ko, private_key=str(private), certificate=str(pem), detached=str(tmp_path))
    assert answer["failed"]
    assert "mutually exclusive" in answer["msg"]
