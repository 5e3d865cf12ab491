"""A private key that cannot be copied: it lives in a token, and OpenSSL on this machine asks the token to sign.

sign-file would do the same, but it would have to reach the token from inside a build root, where nothing of this machine is.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kmodlab.ground.errors import LabError
from kmodlab.ground.process import SHORT

SCHEME = "pkcs11:"
SIGN_SECONDS = 60.0
"""A token may wait for a touch."""
WAYS = {
    ("list", "-providers", "-provider", "pkcs11"): ("-provider", "default", "-provider", "pkcs11"),
    ("engine", "-t", "pkcs11"): ("-engine", "pkcs11", "-keyform", "engine"),
}
"""How `openssl` reaches tokens: what tells that it can, and the options. Engines are going away, providers come."""
REASONS = {
    "PIN incorrect|CKR_PIN_INCORRECT": "the PIN is wrong",
    "PIN locked|CKR_PIN_LOCKED": "too many wrong PINs have locked the token: unlock it first",
    "No PIN code|PIN (?:invalid|len)|CKR_PIN_": "it wants a PIN: set KMODLAB_SIGNING_PASSPHRASE",
    "No matching initialized token|no (?:token|slot)": "no such token is plugged in; see `p11tool --list-tokens`",
    "does not match": "it does not match the certificate: give one pair",
    "not found|Could not (?:read|find|open)": "the token holds no such key, or shows it to nobody without its PIN",
}
"""What OpenSSL says, and what that means; the first that is found."""


@dataclass(frozen=True)
class TokenKey:
    """A private key named by its URI (RFC 7512), as `pkcs11:token=school;object=modules`."""

    uri: str

    def __post_init__(self) -> None:
        if re.search("[;?&]pin-value=", self.uri):
            shown = re.sub("pin-value=[^;&]*", "pin-value=...", self.uri)
            raise LabError(f"private key {shown}: everybody can read a PIN that is in a URI: set KMODLAB_SIGNING_PASSPHRASE")

    def __str__(self) -> str:
        return self.uri

    def sign(self, content: bytes, certificate: Path, pin: str | None, digest: str) -> bytes:
        """A detached PKCS#7 message (DER) of the content, without attributes and certificates, as sign-file makes it.

        One try only, because tokens lock after a few. Raises LabError.
        """
        way = _way()
        if not way:
            raise LabError(f"private key {self}: OpenSSL reaches no tokens: install pkcs11-provider or libengine-pkcs11-openssl")
        with tempfile.TemporaryDirectory(prefix="kmodlab-sign-") as scratch:
            source = Path(scratch) / "content"
            source.write_bytes(content)
            return self._ask(source, [*way, "-inkey", self.uri, "-signer", str(certificate), "-md", digest], pin)

    def _ask(self, source: Path, options: list[str], pin: str | None) -> bytes:
        message = source.with_name("message")
        command = ["openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", *options]
        command += ["-in", str(source), "-out", str(message), "-outform", "DER", "-passin", "stdin"]
        try:
            # A session of its own has no terminal on which OpenSSL could ask for a PIN and wait.
            answer = subprocess.run(
                command,
                input=f"{pin or ''}\n",
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=SIGN_SECONDS,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as problem:
            raise LabError(f"private key {self}: the token did not answer within {SIGN_SECONDS:.0f} s") from problem
        if answer.returncode:
            raise LabError(f"private key {self}: {_reason(answer.stderr)}")
        return message.read_bytes()


@cache
def _way() -> tuple[str, ...]:
    for question, options in WAYS.items():
        try:
            answer = subprocess.run(["openssl", *question], capture_output=True, text=True, check=False, timeout=SHORT)
        except FileNotFoundError as problem:
            raise LabError("openssl is missing: install it, and pkcs11-provider or libengine-pkcs11-openssl") from problem
        if answer.returncode == 0 and "unavailable" not in answer.stdout:
            return options
    return ()


def _reason(said: str) -> str:
    known = (meaning for pattern, meaning in REASONS.items() if re.search(pattern, said, re.IGNORECASE))
    return next(known, (said.strip().splitlines() or ["OpenSSL gave no reason"])[-1])
