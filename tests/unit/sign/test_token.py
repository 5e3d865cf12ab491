"""A key in a token (SoftHSM's, which is a real PKCS#11 module) signs without ever being seen."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from own_key import certificate, openssl

from kmodlab.ground.errors import LabError
from kmodlab.sign import signature, signing
from kmodlab.sign import token as pkcs11
from kmodlab.sign.keys import users_key
from kmodlab.sign.token import TokenKey

MODULE = b"\x7fELF" + bytes(range(256)) * 8
PIN = "open sesame"
URI = "pkcs11:token=school;object=modules;type=private"


def missing() -> str:
    if not shutil.which("softhsm2-util"):
        return "softhsm2 is missing: install it to try a token"
    return "" if pkcs11._way() else "OpenSSL reaches no tokens: install pkcs11-provider or libengine-pkcs11-openssl"


needs_token = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def pem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificate of the key that a new token holds, which is nowhere else."""
    tokens, settings = tmp_path / "tokens", tmp_path / "softhsm2.conf"
    tokens.mkdir()
    settings.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    private, pem = openssl(tmp_path)
    token = ("--token", "school", "--pin", PIN)
    softhsm("--init-token", "--free", "--label", "school", "--so-pin", "0000", "--pin", PIN)
    softhsm("--import", str(private), "--label", "modules", "--id", "a1", *token)
    private.unlink()
    return pem


def softhsm(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments], capture_output=True, check=True)


@needs_token
def test_a_tokens_key_signs_modules(pem: Path, tmp_path: Path) -> None:
    key = users_key(URI, pem, PIN, config=tmp_path)
    signing.prove(key)
    module = tmp_path / "one.ko"
    module.write_bytes(MODULE)
    assert signing.sign_here([module], key, "sha512") == [module]
    signature.verify(module.read_bytes(), certificate(pem))
    found = signature.read_signature(module.read_bytes())
    assert found
    assert found.digest == "sha512"
    assert signing.sign_here([module], key) == []


@needs_token
def test_the_pin_is_no_argument_and_in_no_message(pem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    run = subprocess.run

    def watched(command: list[str], **options: object) -> object:
        commands.append(command)
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", watched)
    key = users_key(URI, pem, PIN, config=tmp_path)
    signing.prove(key)
    assert any("cms" in command for command in commands)
    assert "sesame" not in f"{commands} {key}"


def wrong_pin(_: Path) -> tuple[str, str | None]:
    return URI, "shut sesame"


def no_pin(_: Path) -> tuple[str, str | None]:
    return URI, None


def no_object(_: Path) -> tuple[str, str | None]:
    return URI.replace("modules", "kernels"), PIN


def no_token(_: Path) -> tuple[str, str | None]:
    return URI.replace("school", "office"), PIN


def other_certificate(pem: Path) -> tuple[str, str | None]:
    openssl(pem.parent, name="other")[1].replace(pem)
    return URI, PIN


@needs_token
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (wrong_pin, "the PIN is wrong"),
        (no_pin, "it wants a PIN: set KMODLAB_SIGNING_PASSPHRASE|the PIN is wrong"),
        (no_object, "the token holds no such key"),
        (no_token, "no such token is plugged in"),
        (other_certificate, "does not match"),
    ],
)
def test_a_token_that_will_not_sign_is_said_in_one_line_and_nothing_is_signed(
    pem: Path, tmp_path: Path, fault: Callable[[Path], tuple[str, str | None]], said: str
) -> None:
    uri, pin = fault(pem)
    key = users_key(uri, pem, pin, config=tmp_path)
    modules = [tmp_path / "one.ko", tmp_path / "two.ko"]
    for module in modules:
        module.write_bytes(MODULE)
    with pytest.raises(LabError, match=said) as problem:
        signing.sign_here(modules, key)
    assert "\n" not in str(problem.value)
    assert [module.read_bytes() for module in modules] == [MODULE, MODULE]
    with pytest.raises(LabError, match=said):
        signing.prove(key)


def test_a_pin_in_the_uri_is_refused_and_not_repeated() -> None:
    with pytest.raises(LabError, match="everybody can read a PIN that is in a URI") as problem:
        TokenKey("pkcs11:token=school?pin-value=sesame")
    assert "sesame" not in str(problem.value)


def test_a_machine_that_reaches_no_token_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pkcs11, "WAYS", {("engine", "-t", "nowhere"): ()})
    pkcs11._way.cache_clear()
    try:
        _, pem = openssl(tmp_path)
        with pytest.raises(
            LabError, match=f"{URI}: OpenSSL reaches no tokens: install pkcs11-provider or libengine-pkcs11-openssl"
        ):
            signing.prove(users_key(URI, pem, PIN, config=tmp_path))
    finally:
        pkcs11._way.cache_clear()


def test_a_token_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "openssl").write_text("#!/bin/sh\n[ $1 = cms ] && exec sleep 60\nexit 0\n")
    (tools / "openssl").chmod(0o755)
    _, pem = openssl(tmp_path)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(pkcs11, "SIGN_SECONDS", 0.2)
    with pytest.raises(LabError, match="the token did not answer within 0 s"):
        signing.prove(users_key(URI, pem, PIN, config=tmp_path))
