"""What is asked of a kernel's configuration, and what its own rules make of it."""

from kmodlab.debian.source_kernel import lost_lines

CONFIG = """\
CONFIG_KASAN=y
CONFIG_NR_CPUS=8
# CONFIG_DEBUG_VM is not set
"""


def test_what_the_kernels_rules_overrule_is_named() -> None:
    wanted = "# CONFIG words in a comment\n\nCONFIG_KASAN=y\nCONFIG_NR_CPUS=4\nCONFIG_GPIO_SIM=y\n"
    assert lost_lines(wanted, CONFIG) == ["CONFIG_NR_CPUS=4", "CONFIG_GPIO_SIM=y"]


def test_what_is_to_be_off_may_not_be_on_and_need_not_be_offered() -> None:
    wanted = "# CONFIG_DEBUG_VM is not set\n# CONFIG_ABSENT is not set\n# CONFIG_KASAN is not set\n"
    assert lost_lines(wanted, CONFIG) == ["# CONFIG_KASAN is not set"]
