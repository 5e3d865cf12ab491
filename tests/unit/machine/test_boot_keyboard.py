"""Who plays the person reads the screen before typing, and gives up in words where it shows something else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kmodlab.debian.roots import BootImage
from kmodlab.ground.errors import LabError
from kmodlab.machine import boot_keyboard
from kmodlab.machine.boot_keyboard import Person
from kmodlab.machine.vm import Vm


class Screen:
    """A machine that shows the next of its screens at each key for which it waits."""

    def __init__(self, folder: Path, screens: dict[str, str]) -> None:
        self.console = folder / "console.log"
        self.console.write_text("of the boot before\x1b[2J")
        self.kernel = SimpleNamespace(id="6.12-x86_64")
        self.state: object = True
        self.typed: list[str] = []
        self._screens = list(screens.items())

    def show(self) -> None:
        if self._screens and "".join(self.typed).endswith(self._screens[0][0]):
            with self.console.open("a") as file:
                file.write(self._screens.pop(0)[1])

    def qmp(self, call: tuple[str, dict[str, Any]]) -> None:
        self.typed += [key["data"] for key in call[1]["keys"]]
        self.show()

    def await_off(self, limit: float) -> None:
        assert limit
        assert not self._screens


SCREENS = {
    "": "\x1b[01;01HPress any key to perform MOK \x1b[0mmanagement",
    "ret": "\x1b[2JContinue boot  \x1b[1mEnroll MOK  Enroll key from disk",
    "retdown": "Continue boot",
    "retdownret": "View key 0  View key 1  Continue",
    "downretdowndownret": "Enroll the key(s)?  No  Yes",
    "downdownretdownret": "Password:",
    "abspcminus7ret": "Perform MOK management  Reboot",
}


def person(screen: Screen) -> Person:
    return Person(cast("Vm", screen), seen=screen.console.stat().st_size)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_keyboard, "SCREEN_LIMIT", 0.3)


def test_the_person_confirms_what_waits(tmp_path: Path) -> None:
    screen = Screen(tmp_path, SCREENS)
    who = person(screen)
    screen.show()
    who.confirm("Enroll MOK", "ab -7")
    assert screen.typed[-1] == "ret"
    assert len(screen.typed) == 1 + 2 + 3 + 2 + 6 + 1


def test_another_screen_is_told_with_what_it_shows(tmp_path: Path) -> None:
    screen = Screen(tmp_path, {**SCREENS, "ret": "Continue boot  Enroll key from disk"})
    who = person(screen)
    screen.show()
    with pytest.raises(LabError, match=r"did not show 'Enroll MOK' within .* it showed 'Continue boot  Enroll key from disk'"):
        who.confirm("Enroll MOK", "password")


def test_a_machine_that_ends_is_told_at_once(tmp_path: Path) -> None:
    screen = Screen(tmp_path, {})
    screen.state = None
    with pytest.raises(LabError, match="ended before it showed 'Press any key"):
        person(screen).confirm("Enroll MOK", "password")


def test_an_image_without_boot_loaders_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="holds no boot loaders"):
        boot_keyboard._fill(tmp_path / "loader", BootImage(tmp_path), "quiet")
