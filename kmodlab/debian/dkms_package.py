"""The sources that a -dkms package of the archive brings, as it would install them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kmodlab.debian import archive, userland
from kmodlab.debian.archive import Resolved
from kmodlab.ground.cache import cache_dir, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import scratch


def sources(resolved: Resolved, package: str) -> Path:
    """The folder of a package's sources, of the newest version that a kernel's suites have. LabError where there are none.

    They are downloaded as everything of the archive is, with its signature.
    """
    store = cache_dir() / "packages"
    store.mkdir(exist_ok=True)
    known = store / Path(archive.file_of(resolved, package)).stem
    target = known if known != store and known.exists() else _brought(resolved, package, store)
    trees = sorted(path for path in target.glob("usr/src/*") if path.is_dir())
    if not trees:
        raise LabError(f"MODULES: the package {package} has no sources in /usr/src: it builds no module")
    return trees[0] if len(trees) == 1 else target / "usr/src"


def _brought(resolved: Resolved, package: str, store: Path) -> Path:
    """Download a package, and unpack it."""
    with scratch("package", within=store) as place:
        try:
            [found] = archive.download(resolved, [package], place)
        except LabError as problem:
            suites = " ".join(resolved.kernel.kernel_suites)
            raise LabError(f"MODULES: {package} is no folder, and no package of {suites}: {problem}") from problem
        target = store / found.stem
        if not target.exists():
            with filled(target) as folder:
                userland.unpack([found], folder)
    return target


def with_tools(resolved: Resolved, packages: Iterable[str]) -> Resolved:
    """A kernel whose build root has what packages depend on, dkms among it, as they are in its suites.

    A root for another architecture has only what all have: what is compiled with there is the lab's own choice.
    """
    if resolved.kernel.foreign:
        return resolved
    names = (package.partition("=")[0] for package in packages)
    tools = {each for name in names for each in archive.depends(resolved, name)}
    return resolved.model_copy(update={"tools": tuple(sorted(tools))})
