"""A real board: a machine that somebody else installed, and that SSH reaches. `inventories/boards/hosts.yml` names them.

Beside Ansible's own variables (ansible_host, ansible_user, ansible_port, ansible_ssh_private_key_file, ansible_become) and those
of the roles that prepare it (kernel_headers_packages), a board has:

    board_arch         x86_64, arm64 or armhf
    board_gpio         where its buttons and LED are (kmodlab/plan/wiring.py); without it, what needs GPIO lines is skipped
    board_offers       other hardware that modules may ask for
    board_place        its place in a labgrid, which then controls its power and records its console
    board_boot_limit   seconds until it must answer after a reboot or a power cycle
    board_ssh_config   your own SSH configuration, which knows the way to it
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from kmodlab.ground.cache import REPOSITORY
from kmodlab.plan.inventory import hosts_in
from kmodlab.plan.kernels import Arch
from kmodlab.plan.wiring import Wiring
from kmodlab.results import contract

INVENTORY = REPOSITORY / "inventories/boards/hosts.yml"


class Board(BaseModel):
    """One board of the inventory; the fields' meanings stand at the top of this file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    id: str
    board_arch: Arch
    board_gpio: Wiring | None = None
    board_offers: tuple[str, ...] = ()
    board_place: str = ""
    board_boot_limit: float = Field(default=300, gt=0)
    board_ssh_config: str = "~/.ssh/config"
    ansible_host: str = ""
    ansible_user: str = ""
    ansible_port: int | None = None
    ansible_ssh_private_key_file: str = ""
    ansible_become: bool = False

    @property
    def row(self) -> contract.Kernel:
        """Its kernel as the results begin with it."""
        return contract.Kernel(id=self.id, arch=self.board_arch, host=self.host, accel="hardware")

    @property
    def line(self) -> str:
        """Empty: which kernel runs on it, nobody knows before it is asked."""
        return ""

    @property
    def host(self) -> str:
        """What SSH is told to connect to."""
        return self.ansible_host or self.id

    @property
    def offers(self) -> set[str]:
        """All hardware that modules may ask for."""
        return {*self.board_offers, *(["gpio"] if self.board_gpio else [])}


class ResolvedBoard(BaseModel):
    """A board and what runs on it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    board: Board
    inventory: Path
    """The file that it stands in, for Ansible."""
    release: str
    """As `uname -r` says it."""
    distribution: str
    """debian-13, raspbian-12."""

    @property
    def row(self) -> contract.Kernel:
        """Its kernel as the results begin with it."""
        return self.board.row.model_copy(update={"release": self.release, "distribution": self.distribution})

    @property
    def offers(self) -> set[str]:
        """All hardware that modules may ask for."""
        return self.board.offers

    @property
    def line(self) -> str:
        """The upstream line of its kernel, "6.12"."""
        found = re.match(r"\d+\.\d+", self.release)
        return found[0] if found else "0.0"


def load_boards(path: Path = INVENTORY) -> dict[str, Board]:
    """The boards of an inventory by id."""
    return hosts_in(path, Board, ("board_",))
