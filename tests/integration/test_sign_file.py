"""The kernel's own sign-file, in a real build root: with a key that is plain or encrypted, and apart from its module."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from own_key import certificate, openssl

from kmodlab.debian import archive, roots
from kmodlab.debian.archive import Resolved
from kmodlab.ground import sandbox
from kmodlab.ground.sandbox import Limits
from kmodlab.plan.kernels import load_inventory
from kmodlab.sign import signature, signing
from kmodlab.sign.keys import users_key

KERNEL = "6.12-x86_64"
PROBE = 'MODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("Loads, and does nothing");\n'


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_the_kernels_own_tool_signs_a_real_module(encrypted: bool, tmp_path: Path) -> None:
    resolved = archive.resolve([load_inventory()[KERNEL]])[KERNEL]
    assert isinstance(resolved, Resolved), resolved
    root, release = roots.build_root(resolved), resolved.release
    source = tmp_path / "source"
    source.mkdir()
    (source / "probe.c").write_text(f"#include <linux/module.h>\n{PROBE}")
    (source / "Kbuild").write_text("obj-m := probe.o\n")
    command = ["make", "-C", f"/lib/modules/{release}/build", f"M={sandbox.WORK}", "modules"]
    answer = sandbox.run(root, command, work=source, limits=Limits(seconds=120))
    assert answer.status == 0, answer.output
    module = source / "probe.ko"
    unsigned = module.read_bytes()
    words = "two words"
    private, pem = openssl(tmp_path, *(["-passout", f"pass:{words}"] if encrypted else []))
    key = users_key(private, pem, words if encrypted else None, config=tmp_path)
    signing.sign_modules(root, release, [module], key)
    signed = module.read_bytes()
    signature.verify(module.read_bytes(), certificate(pem))
    assert signature.stripped(module.read_bytes()) == unsigned
    modinfo = subprocess.run(["modinfo", "-F", "signer", str(module)], capture_output=True, text=True, check=True)
    assert modinfo.stdout.strip() == "own"
    if not encrypted:
        module.write_bytes(unsigned)
        detach = [f"/lib/modules/{release}/build/scripts/sign-file", "-d", "sha256", "/tmp/key", "/tmp/pem", "probe.ko"]
        secrets = {Path("/tmp/key"): private.read_bytes(), Path("/tmp/pem"): pem.read_bytes()}
        assert sandbox.run(root, detach, work=source, secrets=secrets, limits=Limits(seconds=60)).status == 0
        assert module.read_bytes() == unsigned
        assert signing.attach([module], source, pem) == [module]
        assert signature.read_signature(module.read_bytes()) == signature.read_signature(signed)
