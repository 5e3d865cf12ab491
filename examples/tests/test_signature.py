"""A kernel that is told to enforce signatures takes what it can know, and nothing else. No reboot is needed to tell it."""

import base64
from pathlib import Path

import pytest

from kmodlab.results.contract import Check, Stage, Verdict
from kmodlab.sign import keys, signing
from kmodlab.verify.module import ModuleUnderTest
from kmodlab.verify.worker import Worker

ENFORCE = "/sys/module/module/parameters/sig_enforce"
"""What module.sig_enforce=1 sets at boot. Once set it stays, so the machine is brought back as it was."""
REJECTED = "Key was rejected by service"


@pytest.mark.module("hello-2")
def test_an_enforcing_kernel_takes_only_what_it_can_know(worker: Worker, module: ModuleUnderTest, tmp_path: Path) -> None:
    """The lab's signature where the firmware holds its certificate; without one, not even that. A stranger's never."""
    stranger = tmp_path / "stranger.ko"
    stranger.write_bytes(worker.column.ko(module.name).read_bytes())
    signing.sign_here([stranger], keys.lab_key(tmp_path, "rsa-2048"))

    def refused(ko: str) -> bool:
        answer = worker.guest.sh(f"insmod {ko}", check=False)
        assert answer.rc == 0 or REJECTED in answer.stderr, f"{ko} was refused in other words: {answer.stderr}"
        return answer.rc != 0

    try:
        worker.guest.sh("base64 -d >/run/stranger.ko", stdin=base64.b64encode(stranger.read_bytes()).decode())
        worker.guest.sh(f"echo 1 >{ENFORCE} && head -c -1 {module.ko} >/run/unsigned.ko")
        assert refused("/run/unsigned.ko"), "a kernel that enforces signatures took an unsigned module"
        assert refused("/run/stranger.ko"), "the kernel cannot know a stranger's key, and took its module"
        lab = refused(str(module.ko))
        assert lab != worker.key_known, (
            f"the kernel {'knows' if worker.key_known else 'cannot know'} the lab's key, and is wrong on it"
        )
    finally:
        worker.restore()
    ours = "refused, as its key cannot be known" if lab else "taken, as its key is known"
    said = f"an unsigned module and a stranger's were refused, the lab's was {ours}"
    assert worker.cell
    worker.cell.checks.setdefault(Stage.BEHAVIOUR, []).append(
        Check(name="module.sig_enforce=1", verdict=Verdict.PASS, reason=said)
    )
