#!/usr/bin/python
"""A thin adapter: module files of the controller, signed with a key that never leaves it, as a task."""

from __future__ import annotations

DOCUMENTATION = """
module: sign_modules
short_description: Sign kernel modules on the controller
description:
  - Signs files of the controller in place, as the kernel's C(sign-file) does; what the key has signed already is left alone.
  - Without O(private_key) and O(private_key_content) the lab's key for real machines is taken, and made when there is none.
  - The key is checked first; it must match its certificate, be private, valid, for signing. An end within 30 days is warned of.
  - Runs on the controller, with the Python that has the C(kmodlab) package.
options:
  files:
    description: The modules; none is right, too, and then only the key is looked after.
    type: list
    elements: path
    default: []
  private_key:
    description: PEM file of the private key, mode 0600, or a C(pkcs11:) URI of one in a token of the controller.
    type: path
  certificate:
    description: PEM file of its certificate. With O(detached), PEM or DER, and no private key is needed.
    type: path
  private_key_content:
    description: The private key itself (PEM), from a vault.
    type: str
  certificate_content:
    description: Its certificate (PEM).
    type: str
  passphrase:
    description: Of the private key, or the PIN of its token.
    type: str
  digest:
    description: The kernel's CONFIG_MODULE_SIG_HASH.
    type: str
    default: sha256
    choices: [sha256, sha384, sha512]
  detached:
    description: A folder with a signature C(NAME.ko.p7s) of each file, made by C(sign-file -d) where the private key is.
    type: path
requirements:
  - the Python package kmodlab of the same version, for the Python that runs the module
author: The kmodlab authors
"""

EXAMPLES = """
- name: Sign what was fetched
  kmodlab.lab.sign_modules:
    files: [/tmp/fetched/hello-1.ko]
  delegate_to: localhost
"""

RETURN = """
certificate:
  description: The certificate in DER, on the controller; what a machine has to enrol.
  type: str
  returned: success
signed:
  description: The files that were signed now.
  type: list
  elements: str
  returned: success
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

ARGUMENTS: dict[str, dict[str, Any]] = {
    "files": {"type": "list", "elements": "path", "default": []},
    "private_key": {"type": "path", "no_log": False},
    "certificate": {"type": "path"},
    "private_key_content": {"type": "str", "no_log": True},
    "certificate_content": {"type": "str"},
    "passphrase": {"type": "str", "no_log": True},
    "digest": {"type": "str", "default": "sha256", "choices": ["sha256", "sha384", "sha512"]},
    "detached": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_together=[("private_key_content", "certificate_content")],
        mutually_exclusive=[("private_key", "private_key_content", "detached")],
        required_by={"private_key": "certificate", "detached": "certificate"},
    )
    try:
        from kmodlab.ground.errors import LabError
        from kmodlab.sign import keys, signing
    except ImportError as problem:
        module.fail_json(msg=missing_required_lib(problem.name or "kmodlab"))

    given = module.params
    files = [Path(each) for each in given["files"]]
    try:
        if given["detached"]:
            der = keys.certificate_file(Path(given["certificate"]))
            signed = signing.attach(files, Path(given["detached"]), der)
        else:
            with tempfile.TemporaryDirectory(prefix="kmodlab-key-") as folder:
                key = _key(given, Path(folder))
                der, signed = key.der, signing.sign_here(files, key, given["digest"])
        if warning := keys.expiry_warning(der):
            module.warn(warning)
    except LabError as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=bool(signed), certificate=str(der), signed=[str(each) for each in signed])


def _key(given: dict[str, Any], folder: Path) -> Any:
    from kmodlab.sign import keys

    if given["private_key_content"]:
        private, certificate = folder / "private.key", folder / "certificate.pem"
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(given["private_key_content"])
        certificate.write_text(given["certificate_content"])
    elif given["private_key"]:
        private, certificate = given["private_key"], Path(given["certificate"])
    else:
        return keys.machines_key()
    return keys.users_key(private, certificate, given["passphrase"])


if __name__ == "__main__":
    main()
