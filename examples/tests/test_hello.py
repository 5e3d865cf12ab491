"""hello-1 to hello-5 and startstop: what they say, and what hello-5 can be told."""

import re

import pytest

from kmodlab.guest.shell import Guest
from kmodlab.verify.module import ModuleUnderTest

PARAMETERS = "/sys/module/hello_5/parameters"


def said(guest: Guest, mark: int) -> list[str]:
    """What the module under test logged since *mark*: the book's lines, nothing of the module loader's."""
    ours = re.compile(r"^(Hello, world|Goodbye, world|my\w+(\[\d\])? |got \d+ arguments)")
    return [record.text for record in guest.log.since(mark) if ours.match(record.text)]


def hello_5_says(mystring: str, array: tuple[int, int], count: int) -> list[str]:
    return [
        "Hello, world 5",
        "myshort is a short integer: 1",
        "myint is an integer: 420",
        "mylong is a long integer: 9999",
        f"mystring is a string: {mystring}",
        f"myintarray[0] = {array[0]}",
        f"myintarray[1] = {array[1]}",
        f"got {count} arguments for myintarray.",
    ]


@pytest.mark.module("hello-2")
def test_hello_2_says_goodbye_only_when_it_goes(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    module.load()
    assert said(guest, mark) == ["Hello, world 2"]
    module.unload()
    assert said(guest, mark) == ["Hello, world 2", "Goodbye, world 2"]


@pytest.mark.module("hello-1")
def test_hello_1_can_come_and_go_many_times(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    for _ in range(3):
        module.load()
        module.unload()
    assert said(guest, mark) == ["Hello, world 1.", "Goodbye, world 1."] * 3


@pytest.mark.module("hello-3")
def test_hello_3_frees_what_it_needed_only_once(loaded: ModuleUnderTest, guest: Guest) -> None:
    """What is marked __init and __initdata is gone once the module runs."""
    symbols = {line.split()[2] for line in guest.sh("grep '\\[hello_3\\]' /proc/kallsyms").stdout.splitlines()}
    assert "hello_3_exit" in symbols
    assert "hello_3_init" not in symbols and "hello_3_data" not in symbols  # the data's address is used, so it has a symbol


@pytest.mark.module("hello-4")
def test_hello_4_describes_itself(module: ModuleUnderTest, guest: Guest) -> None:
    fields = dict(line.split(":", 1) for line in guest.sh(f"modinfo {module.ko}").stdout.splitlines() if ":" in line)
    assert fields["license"].strip() == "GPL"
    assert fields["author"].strip() == "kmodlab"
    assert fields["description"].strip() == "A sample driver"
    assert fields["name"].strip() == "hello_4"


@pytest.mark.module("hello-5")
@pytest.mark.parametrize(
    ("mystring", "given", "array", "count"),
    [
        ("bebop", "-1", (-1, 420), 1),
        ("supercalifragilisticexpialidocious", "-1,-1", (-1, -1), 2),
    ],
)
def test_hello_5_session_of_the_book(
    module: ModuleUnderTest, guest: Guest, mystring: str, given: str, array: tuple[int, int], count: int
) -> None:
    """The last seven lines are what `dmesg -t | tail -7` shows in the book."""
    mark = guest.log.mark()
    module.load(f'mystring="{mystring}" myintarray={given}')
    assert said(guest, mark) == hello_5_says(mystring, array, count)
    module.unload()
    assert said(guest, mark)[-1] == "Goodbye, world 5"


@pytest.mark.module("hello-5")
@pytest.mark.parametrize(
    "parameters",
    ["mylong=hello", "myintarray=1,2,3", "myshort=40000", "myint=", "myintarray=1,x"],
)
def test_hello_5_refuses_what_does_not_fit(module: ModuleUnderTest, guest: Guest, parameters: str) -> None:
    result = module.load(parameters, check=False)
    assert result.rc != 0
    assert re.search("Invalid parameters|Numerical result out of range", result.stderr)
    assert not module.is_loaded()


@pytest.mark.module("hello-5")
def test_hello_5_refuses_a_word_for_a_long_as_the_book_shows(module: ModuleUnderTest, guest: Guest) -> None:
    mark = guest.log.mark()
    result = module.load("mylong=hello", check=False)
    assert "Invalid parameters" in result.stderr
    assert said(guest, mark) == []


@pytest.mark.module("hello-5")
def test_hello_5_shows_its_parameters_in_sysfs(loaded: ModuleUnderTest, guest: Guest) -> None:
    listing = guest.sh(f"cd {PARAMETERS} && stat -c '%n %a' * && cat *").stdout.splitlines()
    assert listing == [
        "myint 644",
        "myintarray 444",
        "mylong 400",
        "myshort 660",
        "mystring 444",
        *("420", "420,420", "9999", "1", "blah"),
    ]


@pytest.mark.module("hello-5")
def test_hello_5_lets_a_parameter_change_where_its_permissions_say_so(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh(f"echo 7 > {PARAMETERS}/myint; cat {PARAMETERS}/myint").stdout == "7\n"
    assert guest.sh(f"echo seven > {PARAMETERS}/myint", check=False).rc != 0
    assert guest.sh(f"cat {PARAMETERS}/myint").stdout == "7\n"


@pytest.mark.module("startstop")
def test_startstop_is_one_module(loaded: ModuleUnderTest, guest: Guest) -> None:
    assert guest.sh("cut -d ' ' -f 1 /proc/modules").stdout.split().count("startstop") == 1
    assert guest.sh("grep -cE '^(start|stop) ' /proc/modules", check=False).stdout == "0\n"
