"""A kernel that is told to enforce signatures takes what it can know, and nothing else. No reboot is needed to tell it."""

import pytest

from kmodlab.life_cycle import ModuleUnderTest
from kmodlab.verify import Worker

ENFORCE = "/sys/module/module/parameters/sig_enforce"
"""What module.sig_enforce=1 sets at boot. Once set it stays, so the machine is brought back as it was."""


@pytest.mark.module("hello-2")
def test_an_enforcing_kernel_takes_only_what_it_can_know(worker: Worker, module: ModuleUnderTest) -> None:
    """The lab's signature where the firmware holds its certificate; without one, not even that."""
    try:
        worker.guest.sh(f"echo 1 >{ENFORCE} && head -c -1 {module.ko} >/run/unsigned.ko")
        unsigned = worker.guest.sh("insmod /run/unsigned.ko", check=False)
        assert unsigned.rc != 0, "an unsigned module was loaded by a kernel that enforces signatures"
        assert "Key was rejected by service" in unsigned.stderr
        signed = worker.guest.sh(f"insmod {module.ko}", check=False)
        if worker.key_known:
            assert signed.rc == 0, f"the kernel knows the key, and says: {signed.stderr}"
        else:
            assert "Key was rejected by service" in signed.stderr, "the kernel cannot know the lab's key, and took its module"
    finally:
        worker.restore()
