"""example_tasklet: the tasklet runs once, whenever it comes, and never after the module is gone."""

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

pytestmark = pytest.mark.module("example_tasklet")

INIT, CONTINUES = "tasklet example init", "Example tasklet init continues..."
STARTS, ENDS = "Example tasklet starts", "Example tasklet ends"
EXIT = "tasklet example exit"


def test_order_varies_only_as_it_may(module: ModuleUnderTest, guest: Guest) -> None:
    """The tasklet comes after init has begun; whether before or after init continues is up to the kernel."""
    mark = guest.log.mark()
    module.load()
    module.unload()  # at once: it has to wait for the tasklet
    texts = [record.text for record in guest.log.since(mark)]
    lines = [text for text in texts if text in {INIT, CONTINUES, STARTS, ENDS, EXIT}]
    assert sorted(lines) == sorted([INIT, CONTINUES, STARTS, ENDS, EXIT]), "each line once"
    assert lines[0] == INIT
    assert lines.index(STARTS) < lines.index(ENDS)
    assert lines[-1] == EXIT, "the tasklet was still running when the module said that it had gone"
