"""Who still points to a module that has gone: the agent's way through a kernel's memory, here a few words of one."""

import struct
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from kmodlab.guest.shell import AGENT

TEXT, DATA, HEAP, MODULE = 0xFFFFFFFF81000000, 0xFFFFFFFF82000000, 0xFFFF888003000000, 0xFFFFFFFFC0625000
FUNCTION, TABLE, NET, CHAIN, BLOCK = TEXT + 0x40, HEAP + 0x1000, DATA + 0x100, DATA + 0x200, DATA + 0x300


class Memory:
    """Words by address; where none was put there is 0, and outside of pages with words there is nothing."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.reads = 0

    def put(self, address: int, *words: int) -> None:
        self.words.update({address + 8 * number: word for number, word in enumerate(words)})

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        if not {each >> 12 for each in (address, address + size - 1)} <= {each >> 12 for each in self.words}:
            return b""
        return b"".join(struct.pack("<Q", self.words.get(each, 0)) for each in range(address, address + size, 8))


@pytest.fixture
def memory() -> Memory:
    memory = Memory()
    memory.put(DATA, TABLE)  # cdev_map
    memory.put(TABLE, *[HEAP] * 255)
    memory.put(HEAP, 0, 0, 0, 0, FUNCTION)  # the probe that all numbers have which nobody has
    memory.put(CHAIN, 0, BLOCK)
    memory.put(BLOCK, FUNCTION, 0)
    memory.put(NET, 0, 0, 0, 0)
    return memory


@pytest.fixture
def agent(memory: Memory) -> SimpleNamespace:
    space: dict[str, Any] = {"__name__": "agent"}
    exec(AGENT.partition("requests = os.fdopen")[0], space)  # noqa: S102 - our own, as the target runs it
    core = space["core"] = object.__new__(space["Core"])
    core.symbols = {"_stext": TEXT, "_etext": TEXT + 0x1000, "_end": DATA + 0x1000, "cdev_map": DATA, "init_net": NET}
    core.sizes = {"cdev_map": 8, "init_net": 32}
    core.chains, core.data = [("toy_chain", CHAIN, 16)], [(DATA, 0x1000)]
    core.read = memory.read
    space["owners"] = lambda addresses: dict.fromkeys(addresses, "toy_list")
    return SimpleNamespace(**space)


def found(agent: SimpleNamespace, *, anywhere: bool = True, armed: Iterable[tuple[int, int]] = ()) -> list[str]:
    pointers: list[str] = agent.Pointers(agent.core, [[MODULE, MODULE + 0x1000]], armed).found(anywhere=anywhere)
    return pointers


def told(where: str, offset: int) -> list[str]:
    return [f"{where} {MODULE + offset:#x}"]


def test_a_device_is_found_by_what_it_has_of_the_module(agent: SimpleNamespace, memory: Memory) -> None:
    memory.put(TABLE + 8 * 241, HEAP + 0x200)
    memory.put(HEAP + 0x200, HEAP, 241 << 20, 1, 0, FUNCTION, FUNCTION, MODULE + 0x20)
    assert found(agent, anywhere=False) == told("cdev_map", 0x20)
    memory.put(HEAP + 0x200 + 48, HEAP + 0x400)  # memory of its own, in which it names the module
    memory.put(HEAP + 0x400, *[0] * 8, MODULE + 0x80, *[0] * 5)
    assert found(agent, anywhere=False) == told("cdev_map", 0x80)


def test_a_hook_is_found_where_an_array_of_functions_is_and_nowhere_else(agent: SimpleNamespace, memory: Memory) -> None:
    memory.put(NET + 8, HEAP + 0x600)
    memory.put(HEAP + 0x600, 2, FUNCTION, 0, MODULE + 0x10, 0)
    assert found(agent, anywhere=False) == told("init_net", 0x10)
    memory.put(HEAP + 0x600, 2, 7)
    assert not found(agent, anywhere=False), "some object that has an address of old in it"


def test_a_notifier_is_found_in_a_module_or_by_its_function(agent: SimpleNamespace, memory: Memory) -> None:
    assert not found(agent)
    memory.put(BLOCK + 8, HEAP + 0x700)
    memory.put(HEAP + 0x700, MODULE, 0)
    assert found(agent) == told("toy_chain", 0)
    memory.put(BLOCK + 8, MODULE + 0x40)
    assert found(agent) == told("toy_chain", 0x40)


def test_a_timer_among_the_modules_variables_is_found_though_its_memory_has_gone(agent: SimpleNamespace, memory: Memory) -> None:
    bases, other = DATA + 0x600, HEAP + 0x900
    agent.core.symbols |= {"timer_bases": bases, "__per_cpu_offset": DATA + 0x700, "delayed_work_timer_fn": FUNCTION + 8}
    agent.core.size = 64
    memory.put(bases, 7, other, MODULE + 0x1008, 0)  # two lists: the second's timer lies just behind the module
    memory.put(other, 0, bases + 8, 99, FUNCTION)
    armed = [*agent.core.armed()][:2]
    assert armed == [(other, FUNCTION), (MODULE + 0x1008, 0)]
    assert not found(agent, armed=armed)
    memory.put(other, MODULE + 0x20)  # the next in the list; what it says of itself is not there any more
    assert found(agent, armed=agent.core.armed(), anywhere=False) == told("timer_bases", 0x20)


def test_whatever_variable_points_there_is_told_by_its_name(agent: SimpleNamespace, memory: Memory) -> None:
    memory.put(DATA + 0x800, MODULE + 0xFF8)
    assert found(agent) == told("toy_list", 0xFF8)
    memory.put(DATA + 0x800, MODULE + 0x1000)
    assert not found(agent), "just behind it"


def test_what_is_found_is_found_again_and_what_led_nowhere_is_not_followed_again(agent: SimpleNamespace, memory: Memory) -> None:
    assert not found(agent, anywhere=False)
    memory.reads = 0
    assert not found(agent, anywhere=False)
    once = memory.reads
    memory.put(TABLE + 8 * 241, HEAP + 0x200)
    memory.put(HEAP + 0x200, HEAP, 241 << 20, 1, 0, FUNCTION, FUNCTION, MODULE + 0x20)
    for _ in range(3):
        assert found(agent, anywhere=False) == told("cdev_map", 0x20)
    assert once <= 4


def test_nothing_is_asked_of_a_module_that_has_not_gone(agent: SimpleNamespace, memory: Memory) -> None:
    gone = f'["toy", [[{MODULE}, {MODULE + 0x1000}]], true]'
    memory.put(DATA + 0x800, MODULE)
    assert not agent.pointers(gone, "toy 4096 0 - Live 0x0\n")
    assert agent.pointers(gone, "toys 4096 0 - Live 0x0\n") == told("toy_list", 0)
