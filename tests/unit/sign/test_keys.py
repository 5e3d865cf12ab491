"""The lab's key is made once and kept private; a user's is taken as it is, or refused in one line."""

from __future__ import annotations

import multiprocessing
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from own_key import certificate, openssl, renewed

from kmodlab.ground.cache import cache_dir
from kmodlab.ground.errors import LabError
from kmodlab.sign import keys
from kmodlab.sign.keys import SigningKey, lab_key, users_key

# The lab's own key


def _private(key: SigningKey) -> Path:
    assert isinstance(key.private, Path), "the lab's own keys are files"
    return key.private


def test_the_labs_key_is_made_once_private_and_for_modules(tmp_path: Path) -> None:
    key = lab_key(tmp_path)
    private = _private(key)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(private.parent.parent.stat().st_mode) == 0o700
    made = certificate(key.certificate)
    assert made == x509.load_der_x509_certificate(key.der.read_bytes())
    usages = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CODE_SIGNING, keys.MODULE_SIGNING}
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    identifier = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert issuer.key_identifier == identifier.digest
    assert made.not_valid_after_utc.year - made.not_valid_before_utc.year in (9, 10)
    before = private.read_bytes()
    assert lab_key(tmp_path) == key
    assert private.read_bytes() == before


def _fingerprint(config: Path) -> bytes:
    return lab_key(config, "rsa-2048").der.read_bytes()


def test_two_makers_at_once_get_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_fingerprint, [tmp_path, tmp_path])
    assert first == second


def test_a_killed_maker_leaves_no_half_a_key(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as maker:
        left = tmp_path / "keys" / f"rsa-3072.{maker.pid}-1.part"
    left.mkdir(parents=True)
    (left / "private.key").write_text("half")
    assert _private(lab_key(tmp_path)).read_text().startswith("-----BEGIN PRIVATE KEY-----")
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
        keys.chosen_key(tmp_path)
    monkeypatch.setenv("KMODLAB_SIGNING_CERTIFICATE", str(pem))
    assert keys.chosen_key(tmp_path).private == private
    monkeypatch.delenv("KMODLAB_SIGNING_KEY")
    monkeypatch.delenv("KMODLAB_SIGNING_CERTIFICATE")
    assert keys.chosen_key(tmp_path) == lab_key(tmp_path)


@pytest.mark.parametrize(("days", "said"), [(31, None), (29, "expires on .*29 days"), (-1, "expired on")])
def test_the_end_is_announced_thirty_days_ahead(tmp_path: Path, days: int, said: str | None) -> None:
    private, pem = openssl(tmp_path)
    renewed(private, pem, -60, days)
    warning = keys.expiry_warning(pem)
    assert re.search(said, warning or "") if said else warning is None


def test_what_the_matrix_signs_and_what_real_machines_trust_are_two_keys() -> None:
    throwaway, enrolled = keys.chosen_key(), keys.machines_key()
    assert throwaway == lab_key() and enrolled == keys.enrolled_key()
    assert throwaway.certificate.read_bytes() != enrolled.certificate.read_bytes()
    assert cache_dir() in throwaway.certificate.parents and keys.config_dir() / "keys/enrolled" in enrolled.certificate.parents


def test_a_key_that_machines_trust_already_goes_on_being_theirs_and_signs_no_matrix(tmp_path: Path) -> None:
    earlier = lab_key(keys.config_dir())
    assert keys.machines_key() == earlier
    assert keys.chosen_key().certificate.read_bytes() != earlier.certificate.read_bytes()


def test_the_matrix_takes_a_key_for_real_machines_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    enrolled = keys.enrolled_key()
    monkeypatch.setenv("KMODLAB_SIGNING_KEY", str(enrolled.private))
    monkeypatch.setenv("KMODLAB_SIGNING_CERTIFICATE", str(enrolled.certificate))
    assert keys.chosen_key().private == enrolled.private


HIDING = """
import os, subprocess, sys
from pathlib import Path
from kmodlab.sign import keys
keys.hide_passphrase()
code = "import os; from kmodlab.sign import keys; print(keys._passphrase(), 'sesame' in str(os.environ))"
child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
print("sesame" in Path("/proc/self/environ").read_text(), keys._passphrase(), child.stdout.strip())
"""


@pytest.mark.parametrize("way", ["variable", "pipe", "file"])
def test_a_passphrase_is_in_no_environment_after_the_start(way: str, tmp_path: Path) -> None:
    environment = {**os.environ}
    reader, writer = os.pipe()
    os.write(writer, b"open sesame\n")
    os.close(writer)
    (tmp_path / "word").write_text("open sesame\n")
    (tmp_path / "word").chmod(0o600)
    given = {"variable": ("", "open sesame"), "pipe": ("_FILE", f"/dev/fd/{reader}"), "file": ("_FILE", str(tmp_path / "word"))}
    environment[f"KMODLAB_SIGNING_PASSPHRASE{given[way][0]}"] = given[way][1]
    command = [sys.executable, "-c", HIDING]
    answer = subprocess.run(command, env=environment, pass_fds=[reader], capture_output=True, text=True, check=True)
    os.close(reader)
    assert answer.stdout.split() == ["False", "open", "sesame", "open", "sesame", "False"]


def test_a_passphrase_file_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODLAB_SIGNING_KEY", "/x")
    monkeypatch.setenv("KMODLAB_SIGNING_CERTIFICATE", "/x")
    monkeypatch.setenv("KMODLAB_SIGNING_PASSPHRASE_FILE", str(tmp_path / "word"))
    with pytest.raises(LabError, match="word: No such file"):
        keys.chosen_key()
    (tmp_path / "word").write_text("open sesame")
    (tmp_path / "word").chmod(0o644)
    with pytest.raises(LabError, match=r"PASSPHRASE_FILE: .*word can be read by others: chmod 600"):
        keys.chosen_key()
