"""What is other at the second look at a target. The lines are those of a kernel 6.12."""

import pytest

from kmodlab.judge import leftovers
from kmodlab.judge.leftovers import between

CRYPTO = """\
name         : sha256
driver       : sha256-generic
module       : kernel
priority     : 100
refcnt       : {0}
selftest     : passed

name         : toy
driver       : toy-generic
module       : toy
priority     : 1
refcnt       : 1
"""

BUILT_IN = """\
name         : cbc(aes)
driver       : cbc(ecb(aes-generic))
module       : kernel
priority     : 100
"""


@pytest.mark.parametrize(
    ("place", "before", "after", "found"),
    [
        ("/proc/", "fs\ndevices", "devices\nlitter\nfs", "/proc/litter"),
        ("/proc/devices", "  1 mem\n", "  1 mem\n241 registers\n", "/proc/devices: 241 registers"),
        ("/proc/crypto", CRYPTO.format(2).split("\n\n")[0], CRYPTO.format(3), "/proc/crypto: toy (toy-generic)"),
        (
            "/proc/interrupts",
            "           CPU0       CPU1       \n  1:          9          0   IO-APIC   1-edge      i8042\n",
            "           CPU0       CPU1       \n  1:         12          0   IO-APIC   1-edge      i8042\n"
            " 42:          0          0  dummy  0  toy\n",
            "interrupt toy",
        ),
        (
            "/proc/modules",
            "virtio_net 110592 0 - Live 0xffffffffc0395000\n",
            "virtio_net 110592 1 - Live 0xffffffffc0395000\n",
            "/proc/modules: virtio_net 1",
        ),
        (
            "/sys/kernel/debug/kprobes/list",
            "",
            "ffffffffb4c5d0a0  k  do_sys_openat2+0x0    [FTRACE]\n",
            "a kprobe at k  do_sys_openat2+0x0    [FTRACE]",
        ),
        ("timers", "", "0xffffffffc0a1b010\n", "a timer or delayed work, armed, that calls 0xffffffffc0a1b010"),
        (
            "pointers",
            "",
            "cdev_map 0xffffffffc02f3560\n",
            "the kernel's pointer for a character device in cdev_map, to 0xffffffffc02f3560",
        ),
        ("pointers", "", "xt 0xffffffffc02f3560\n", "the kernel's pointer for something in xt, to 0xffffffffc02f3560"),
        (
            "threads",
            "kthreadd\nkworker/0:1-events",
            "kthreadd\nkworker/1:7-mm\nkworker/R-toy\ntoyd",
            "the kernel's thread kworker/R-toy",
        ),
        ("/proc/sys/kernel/printk", "4\t4\t1\t7\n", "1\t4\t1\t7\n", "/proc/sys/kernel/printk: 1 4 1 7"),
    ],
)
def test_what_is_new_is_told(place: str, before: str, after: str, found: str) -> None:
    left = between({place: before}, {place: after})
    assert left.new[0] == found
    assert not left.gone
    assert not between({place: after}, {place: after})


def test_what_is_gone_is_told_too() -> None:
    left = between({"/dev/": "null\nzero", "/sys/bus/toy/drivers/": "one"}, {"/dev/": "zero"})
    assert left.gone == ("/dev/null", "/sys/bus/toy/drivers/one")
    assert str(left) == "no longer there: /dev/null, /sys/bus/toy/drivers/one"


def test_two_of_a_kind_are_more_than_one() -> None:
    assert between({"threads": "toyd"}, {"threads": "toyd\ntoyd"}).new == ("the kernel's thread toyd",)


@pytest.mark.parametrize(
    ("place", "before", "after"),
    [
        ("/proc/modules", "toy 1 0 - Live 0x0\n", "toy 1 3 - Live 0x0\n"),  # its own
        ("/proc/modules", "", "dummy 1 2 - Live 0x0\n"),  # came with it
        ("/proc/crypto", CRYPTO.format(2), CRYPTO.format(3)),
        ("/proc/crypto", CRYPTO.format(2), f"{BUILT_IN}\n{CRYPTO.format(2)}"),
        (
            "/proc/interrupts",
            " 24:  0  PCI-MSI  16384-edge  virtio0-config\n 25:  7  PCI-MSI  16385-edge  virtio1-config\n",
            " 24:  7  PCI-MSI  16385-edge  virtio1-config\n 25:  0  PCI-MSI  16384-edge  virtio0-config\n",
        ),
        ("threads", "kthreadd", "kthreadd\nkworker/u8:2-events_unbound"),
        ("processes", "sshd-session", "sshd-session\nsshd"),
        ("/proc/sys/kernel/tainted", "0\n", "4096\n"),  # others judge it
        ("/sys/class/", "misc\nnet", "net\nmisc"),
    ],
)
def test_what_only_looks_like_it_is_not(place: str, before: str, after: str) -> None:
    assert not between({place: before}, {place: after}, own=["toy"])


def test_userland_is_told_apart() -> None:
    before = {"processes": "sshd\nsh", "files": "/ 120\n/tmp 3", "/proc/mounts": "proc /proc proc rw 0 0\n"}
    after = {"processes": "sshd\nsh\nsleep", "files": "/ 120\n/tmp 4", "/proc/mounts": ""}
    left = between(before, after)
    assert not left
    assert left.userland == ("/tmp 4", "gone: /tmp 3", "gone: proc /proc proc rw 0 0", "sleep")


def test_modules_are_told_by_name() -> None:
    assert leftovers.modules({"/proc/modules": "a 1 0 - Live 0x0\nb_c 1 1 a, Live 0x0 (O)\n"}) == {"a", "b_c"}


def test_a_setting_is_changed_and_not_still_there() -> None:
    """What is added below /proc/sys is there; what has another value is changed."""
    before, after = {"/proc/sys/kernel/printk": "7 4 1 7\n"}, {"/proc/sys/kernel/printk": "1 4 1 7\n"}
    assert str(between(before, after)) == "changed, and not changed back: /proc/sys/kernel/printk: 1 4 1 7"
    assert str(between({"/dev/": ""}, {"/dev/": "x"})) == "still there after unloading: /dev/x"
    processors = "/sys/devices/system/cpu/online"
    assert str(between({processors: "0-1\n"}, {processors: "0\n"})) == f"changed, and not changed back: {processors}: 0"


LOST = "memory that nobody frees: 1 of kmalloc-128, allocated by toy_init+0x1f/0x34 [toy]"


@pytest.mark.parametrize(
    ("left", "only"),
    [
        (f"still there after unloading: {LOST}", True),
        (f"still there after unloading: {LOST}, {LOST.replace('kmalloc-128', 'toy')}", True),
        (f"still there after unloading: {LOST}, /proc/litter", False),
        (f"still there after unloading: {LOST}; no longer there: /dev/null", False),
        ("still there after unloading: /proc/litter", False),
    ],
)
def test_memory_alone_is_told_from_what_else_is_left(left: str, only: bool) -> None:
    assert leftovers.only_memory(left) is only


def test_memory_that_may_still_be_freed_is_told_from_what_else_is_left() -> None:
    memory = {"memory": "kmalloc-256 0xffffffffc064f038 20"}
    assert leftovers.lost_memory(between({}, memory))
    assert not leftovers.lost_memory(between({}, memory | {"/proc/": "litter"}))
    assert not leftovers.lost_memory(between({}, {}))


def test_what_the_kernel_still_points_to_is_told_from_what_else_is_left() -> None:
    assert between({}, {"pointers": "init_net 0xffffffffc02f1010"}).pointed
    assert not between({}, {"timers": "0xffffffffc0a1b010", "/proc/": "litter"}).pointed
