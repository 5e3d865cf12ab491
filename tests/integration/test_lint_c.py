"""The static checks of C, fed what they are there to find, in a real build root."""

from kmodlab.build import lint_c
from kmodlab.debian import archive
from kmodlab.debian.archive import Resolved
from kmodlab.plan import kernels


def test_w1_and_sparse_both_speak() -> None:
    inventory = kernels.load_inventory()
    resolved = archive.resolve([inventory[lint_c.ALWAYS]])[lint_c.ALWAYS]
    assert isinstance(resolved, Resolved), resolved
    found = "\n".join(lint_c.lint(resolved, ["tests/integration/untidy"]))
    place = f"{lint_c.ALWAYS}: tests/integration/untidy/untidy.c"
    assert f"{place}:8:5: warning: no previous prototype for 'without_prototype'" in found
    assert f"{place}:6:5: warning: symbol 'shared' was not declared. Should it be static?" in found
    assert f"{place}:10:17: warning: dereference of noderef expression" in found
