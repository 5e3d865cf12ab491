"""Modules are signed: by the kernel's own sign-file where its build root is, else by what makes the same.

Private keys stay on this machine: a build root sees one read-only, in a sandbox without network, for as long as
signing takes. Either all modules are signed, or none is touched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import read_regular, scratch, write_aside
from kmodlab.ground.sandbox import Limits
from kmodlab.sign import keys, signature
from kmodlab.sign.keys import SigningKey
from kmodlab.sign.token import TokenKey

PKCS7_DIGESTS = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
ELF = b"\x7fELF"
SIGNING = Limits(seconds=300)
GROWTH = 1 << 16
"""Bytes that a signature has at most."""
WITH_PIN = 'IFS= read -r KBUILD_SIGN_PIN && export KBUILD_SIGN_PIN && exec "$@"'
"""How sign-file learns a passphrase: by its environment, never by an argument."""


def sign_modules(root: Path, release: str, modules: Sequence[Path], key: SigningKey) -> None:
    """Sign module files in place, with the sign-file and digest of `release`, whose build root is `root`.

    A module that carries signatures loses them first. Each result is verified before it takes its module's
    name, and no module is touched unless all could be signed. Raises LabError.
    """
    if not modules:
        return
    settings = _kernel_settings(root, release)
    keys.check(key)
    _fits(settings, release, key)
    digest, unsigned = settings["CONFIG_MODULE_SIG_HASH"], [_unsigned(module) for module in modules]
    if isinstance(key.private, TokenKey):
        signed = [_signed_here(module, key, digest) for module in unsigned]
    else:
        signed = _signed_by_sign_file(root, release, digest, unsigned, key.private, key)
    _put(dict(zip(modules, signed, strict=True)), key.certificate)


def sign_here(modules: Sequence[Path], key: SigningKey, digest: str = "sha256") -> list[Path]:
    """Sign module files in place on this machine: for modules of machines to which the key must not go.

    Makes what sign-file makes. Those that the key has signed already are left alone; returns the others.
    Raises LabError, and has then changed none.
    """
    keys.check(key)
    wanting = _wanting(modules, key.certificate)
    _put({module: _signed_here(_unsigned(module), key, digest) for module in wanting}, key.certificate)
    return wanting


def attach(modules: Sequence[Path], folder: Path, certificate: Path) -> list[Path]:
    """Append NAME.ko.p7s of a folder, detached signatures that were made elsewhere (`sign-file -d`, DER), to each module that
    has not its good signature yet; returns those. Where a signature is not there or not good, its module is put into the folder
    without any, to be signed: LabError then, and nothing was changed.
    """
    wanting = _wanting(modules, certificate)
    signed = {module: _attached(module, folder, certificate) for module in wanting}
    waiting = {module: content for module, content in signed.items() if content is None}
    for module in waiting:
        write_aside(folder / module.name, _unsigned(module))
    if waiting:
        names = ", ".join(sorted(module.name for module in waiting))
        raise LabError(
            f"{names} in {folder} must be signed where the key is",
            hint="run `sign-file -d sha256 KEY CERTIFICATE NAME.ko` there, then come back",
        )
    _put({module: content for module, content in signed.items() if content is not None}, certificate)
    return wanting


def prove(key: SigningKey) -> None:
    """Sign a few bytes, so that a token's key, too, is known to be there and to match its certificate. Raises LabError."""
    keys.check(key)
    try:
        signature.verify(_signed_here(ELF, key, "sha256"), keys.read_certificate(key.certificate))
    except signature.SignatureError as problem:
        raise LabError(f"private key {key.private} does not match certificate {key.certificate}: give one pair") from problem


def _wanting(modules: Sequence[Path], certificate: Path) -> list[Path]:
    """Those that have no good signature by this certificate's key."""
    read = keys.read_certificate(certificate)

    def good(module: Path) -> bool:
        try:
            signature.verify(_content(module), read)
        except signature.SignatureError:
            return False
        return True

    return [module for module in modules if not good(module)]


def _put(signed: Mapping[Path, bytes], certificate: Path) -> None:
    """Write modules once every signature is known to be good, with the eyes of a kernel."""
    read = keys.read_certificate(certificate)
    for module, content in signed.items():
        try:
            signature.verify(content, read)
        except signature.SignatureError as problem:
            raise LabError(f"module {module} got no good signature by {certificate}: {problem}") from problem
    for module, content in signed.items():
        write_aside(module, content)


def _attached(module: Path, folder: Path, certificate: Path) -> bytes | None:
    """The module with its detached signature; None where that is not there, or is of another module, key or version."""
    detached = folder / f"{module.name}.p7s"
    try:
        content = signature.attached(_unsigned(module), detached.read_bytes())
        signature.verify(content, keys.read_certificate(certificate))
    except (FileNotFoundError, signature.SignatureError):
        return None
    except OSError as problem:
        raise LabError(f"detached signature {detached}: {problem.strerror}") from problem
    return content


def _signed_here(module: bytes, key: SigningKey, digest: str) -> bytes:
    algorithms: dict[str, pkcs7.PKCS7HashTypes] = {each.name: each for each in PKCS7_DIGESTS}
    if digest not in algorithms:
        raise LabError(f"digest {digest} is unknown: take one of {', '.join(algorithms)}")
    if isinstance(key.private, TokenKey):
        return signature.attached(module, key.private.sign(module, key.certificate, key.passphrase, digest))
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    options += [pkcs7.PKCS7Options.NoAttributes, pkcs7.PKCS7Options.NoCerts]
    private = keys.read_private_key(key.private, key.passphrase)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(module)
    builder = builder.add_signer(keys.read_certificate(key.certificate), private, algorithms[digest])
    return signature.attached(module, builder.sign(serialization.Encoding.DER, options))


def _unsigned(module: Path) -> bytes:
    content = _content(module)
    if not content.startswith(ELF):
        raise LabError(f"module {module} is not an ELF file: sign it before it is compressed")
    try:
        return signature.stripped(content)
    except signature.SignatureError as problem:
        raise LabError(f"module {module}: {problem}", hint="build it again") from problem


def _content(module: Path) -> bytes:
    try:
        return module.read_bytes()
    except OSError as problem:
        raise LabError(f"module {module}: {problem.strerror}") from problem


def _kernel_settings(root: Path, release: str) -> dict[str, str]:
    """What the kernel was configured with, by its headers. Raises LabError where it takes no signatures."""
    path = _headers(root, release) / "include/config/auto.conf"
    try:
        found = dict(re.findall(r'^(CONFIG_\w+)="?(.*?)"?$', path.read_text(), re.MULTILINE))
    except OSError as problem:
        raise LabError(
            f"kernel {release} cannot be signed for: {path}: {problem.strerror}", hint="install its headers"
        ) from problem
    if "CONFIG_MODULE_SIG_HASH" not in found:
        raise LabError(f"kernel {release} cannot be signed for: it knows no module signatures (CONFIG_MODULE_SIG is off)")
    return found


def _fits(settings: dict[str, str], release: str, key: SigningKey) -> None:
    if (
        isinstance(keys.read_certificate(key.certificate).public_key(), ec.EllipticCurvePublicKey)
        and "CONFIG_CRYPTO_ECDSA" not in settings
    ):
        raise LabError(f"kernel {release} cannot check ECDSA signatures (CONFIG_CRYPTO_ECDSA): sign with an RSA key")


def _headers(root: Path, release: str) -> Path:
    """Where /lib/modules/RELEASE/build leads inside the root, absolute links included."""
    link = root / "lib/modules" / release / "build"
    try:
        target = link.readlink()
    except OSError as problem:
        raise LabError(
            f"kernel {release} cannot be signed for: {link}: {problem.strerror}", hint="install its headers"
        ) from problem
    return root / target.relative_to("/") if target.is_absolute() else link.parent.resolve() / target


def _signed_by_sign_file(
    root: Path, release: str, digest: str, modules: Sequence[bytes], private: Path, key: SigningKey
) -> list[bytes]:
    """One sandbox signs all: names come through its stdin, after the passphrase that nobody else sees."""
    tool = f"/lib/modules/{release}/build/scripts/sign-file"
    inside, certificate = Path("/tmp/key"), Path("/tmp/certificate")  # noqa: S108 the sandbox's own, in its memory
    sign = [tool, digest, str(inside), str(certificate)]
    with scratch("sign") as place:
        copies = [place / f"{number}.ko" for number in range(len(modules))]
        for copy, module in zip(copies, modules, strict=True):
            copy.write_bytes(module)
        answer = sandbox.run(
            root,
            ["sh", "-c", WITH_PIN, "sh", "xargs", "-0", "-n1", *sign],
            work=place,
            secrets={inside: private.read_bytes(), certificate: key.certificate.read_bytes()},
            stdin=f"{key.passphrase or ''}\n" + "\0".join(copy.name for copy in copies),
            limits=SIGNING,
        )
        if answer.status:
            raise LabError(f"kernel {release} cannot be signed for: {tool}: {answer.last_word}")
        return [read_regular(copy, len(module) + GROWTH) for copy, module in zip(copies, modules, strict=True)]
