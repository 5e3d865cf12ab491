"""A kernel that is told to enforce signatures takes what it can know, and nothing else. No reboot is needed to tell it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from kmodlab.ground.cache import REPOSITORY
from kmodlab.guest.shell import MODULES
from kmodlab.sign import keys, signing
from kmodlab.stages import planning
from kmodlab.stages.request import Request

MODULE = "hello-2"
ENFORCE = "/sys/module/module/parameters/sig_enforce"
"""What module.sig_enforce=1 sets at boot. Once set it stays, until the machine ends."""
REJECTED = "Key was rejected by service"


@pytest.mark.parametrize(
    ("kernel", "known"),
    [
        pytest.param("6.12-x86_64", True, id="6.12-x86_64"),
        *(
            pytest.param(kernel, True, id=kernel, marks=pytest.mark.nightly)
            for kernel in ("5.10-x86_64", "6.1-x86_64", "7.3-x86_64")
        ),
        pytest.param("6.12-arm64", False, id="6.12-arm64", marks=pytest.mark.nightly),
    ],
)
def test_an_enforcing_kernel_takes_only_what_it_can_know(tmp_path: Path, kernel: str, known: bool) -> None:
    """The lab's signature where the firmware holds its certificate; without one, not even that. A stranger's never."""
    lab = planning.plan(Request(REPOSITORY / "examples", kernels=kernel, only=MODULE), tmp_path / "reports")
    column = lab.column(kernel)
    assert column.key_known == known
    column.prepare()
    column.build()
    column.sign()
    stranger = tmp_path / "stranger.ko"
    stranger.write_bytes(column.ko(MODULE).read_bytes())
    signing.sign_here([stranger], keys.lab_key(tmp_path, "rsa-2048"))
    try:
        column.target.start()
        with column.target.guest() as guest:
            column.deploy_to(guest)
            guest.sh("base64 -d >/run/stranger.ko", stdin=base64.b64encode(stranger.read_bytes()).decode())
            guest.sh(f"head -c -1 {MODULES}/{MODULE}.ko >/run/unsigned.ko; insmod /run/unsigned.ko && rmmod hello_2")
            guest.sh(f"echo 1 >{ENFORCE}")

            def refused(ko: str) -> bool:
                answer = guest.sh(f"insmod {ko}", check=False)
                assert answer.rc == 0 or REJECTED in answer.stderr, f"{ko} was refused in other words: {answer.stderr}"
                return answer.rc != 0

            assert refused("/run/unsigned.ko"), "a kernel that enforces signatures took an unsigned module"
            assert refused("/run/stranger.ko"), "the kernel cannot know a stranger's key, and took its module"
            assert refused(f"{MODULES}/{MODULE}.ko") != known
    finally:
        column.leave()
