"""The pytest plugin of a project's own tests, an entry point of the package: what a test asks for by name.

The same tests run in two ways. In a run of the lab they are in the sandbox, and the worker says what they may reach
(`inside`). In any other pytest, Molecule's testinfra verifier say, they reach what Testinfra's `host` reaches by SSH (`reached`).

In a pytest without such tests it does nothing, and imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

    from kmodlab.guest.shell import Guest
    from kmodlab.verify.module import ModuleUnderTest

CATALOG = "catalog.yml"
MARKER = "module(name): the module of the catalog that this test is about"
NO_NAME = "is about no module: mark it with @pytest.mark.module(NAME)"


class Way(Protocol):
    """How tests reach their target."""

    def guest(self, host: Host) -> Guest:
        """The target that Testinfra's `host` is."""

    def module(self, item: pytest.Item, guest: Guest) -> ModuleUnderTest:
        """The module that a test is about, not loaded."""

    def gpio(self, module: ModuleUnderTest) -> AbstractContextManager[Any]:
        """The target's GPIO chip as long as the context lasts; `guest.gpio.Chip` says what it does."""

    def watched(self, module: ModuleUnderTest) -> AbstractContextManager[None]:
        """Look at the target before and after a test; a failure where the kernel complains, or the module stays."""

    @property
    def discards(self) -> bool:
        """Whether all of the target goes when a test has ended, and the module with it."""

    def close(self) -> None:
        """End all connections."""


WAY = pytest.StashKey[Way]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kmodlab", "kmodlab: tests of kernel modules on hosts that SSH reaches")
    group.addoption(
        "--kmodlab-only", default="", metavar="MODULES", help="run the tests of these modules only: 'chardev procfs1'"
    )
    group.addoption(
        "--kmodlab-gpio",
        default="",
        metavar="WIRING",
        help="the hosts' buttons and LED: `simulated` (by the lab's module kmodlab_gpio), `gpio-sim`, or a file of YAML",
    )
    group.addoption(
        "--kmodlab-offers", default="", metavar="HARDWARE", help="what else the hosts have that a catalog may ask for: keyboard"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    if config.getoption("--kmodlab-gpio"):
        way(config)  # which says at once what is wrong with it


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the modules that were asked for, and those of none. A module without a test is a mistake."""
    only = config.getoption("--kmodlab-only").replace(",", " ").split()
    if not only:
        return
    kept = [item for item in items if module_name(item) in ("", *only)]
    if missing := sorted({*only} - {module_name(item) for item in kept}):
        raise pytest.UsageError(f"--kmodlab-only: no test is about {', '.join(missing)}")
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_unconfigure(config: pytest.Config) -> None:
    if way := config.stash.get(WAY, None):
        way.close()


def module_name(item: pytest.Item) -> str:
    """The module that a test is about; empty where it does not say."""
    mark = item.get_closest_marker("module")
    return str(mark.args[0]) if mark and mark.args else ""


def project_of(item: pytest.Item) -> Path | None:
    """The folder whose own test it is: the nearest above it that has a catalog."""
    return next((folder for folder in item.path.parents if (folder / CATALOG).is_file()), None)


def way(config: pytest.Config) -> Way:
    """How the tests of this pytest reach their target."""
    if WAY not in config.stash:
        from kmodlab.verify.reached import Reached

        config.stash[WAY] = Reached(config.getoption("--kmodlab-gpio"), config.getoption("--kmodlab-offers"))
    return config.stash[WAY]


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whoever reaches a target for a module is watched there, whatever of the target he asks for."""
    if module_name(request.node) and "_testinfra_host" in request.fixturenames and project_of(request.node):
        with way(request.config).watched(request.getfixturevalue("module")):
            yield
    else:
        yield


@pytest.fixture
def guest(request: pytest.FixtureRequest, host: Host) -> Guest:
    """The target."""
    return way(request.config).guest(host)


@pytest.fixture
def module(request: pytest.FixtureRequest, guest: Guest) -> ModuleUnderTest:
    """The module under test, not loaded."""
    if not module_name(request.node):
        pytest.fail(f"{request.node.nodeid} {NO_NAME}", pytrace=False)
    return way(request.config).module(request.node, guest)


@pytest.fixture
def loaded(module: ModuleUnderTest, request: pytest.FixtureRequest) -> Iterator[ModuleUnderTest]:
    """The module under test, loaded as the catalog says; unloaded after the test, which must succeed, unless all of its target
    goes then.
    """
    module.load(module.entry.parameters)
    yield module
    if not way(request.config).discards:
        module.unload_if_loaded()


@pytest.fixture
def gpio(request: pytest.FixtureRequest, module: ModuleUnderTest) -> Iterator[Any]:
    """The target's GPIO chip, its wires in the test's hand."""
    with way(request.config).gpio(module) as chip:
        yield chip
