"""What of the caches one machine can hand to another, so that it is made once: build roots, builds, and what the archive said.

What is in the cache has its content's key for a name, and has it on every machine that would make the same of the same. A build
root is an exception: it begins as a userland, in which the lab's own SSH key is. It travels without what is the lab's, has
another name over there, and keeps the one by which its builds are known. Userlands, boot images and snapshots have keys in
them: they do not travel, and neither does anything that signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from kmodlab.debian import archive, roots, source_kernel
from kmodlab.debian.archive import Resolved
from kmodlab.ground.cache import cache_dir, filled
from kmodlab.ground.errors import LabError
from kmodlab.ground.files import write_aside
from kmodlab.ground.parcel import Item, Manifest, opened, pack, unpack
from kmodlab.plan.kernels import Kernel, load_inventory, native_arch

IMAGES, KERNELS = "images", "kernels"
BUILDS = ("modules", "programs", "explored")
"""Folders of the cache that hold what was built, by the build root's name and the sources: of all kernels."""
OF_THE_LAB = ("root/root/.ssh", "root/etc/ssh/ssh_host_*", "root/etc/apt/*", "root/var/lib/apt/lists/*", "root/tmp/*")
"""What is a lab's own in a root: who may log in, and which mirror it asks."""


class Known(BaseModel):
    """A kernel of a parcel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolved: Resolved
    recipe: str
    """What its build root is made of, whatever lab makes it."""
    root: str
    """The name of its build root where that was made; several kernels may have one."""
    made_as: str
    """The name by which that one's builds are known."""


_KNOWN = TypeAdapter(list[Known])


@dataclass(frozen=True)
class Packed:
    """What an export has made."""

    kernels: list[str]
    entries: int
    sha256: str


@dataclass(frozen=True)
class Brought:
    """What an import has done."""

    kernels: list[str]
    new: int
    known: int
    """So many entries were here already."""


def export(kernels: Sequence[Kernel], parcel: Path) -> Packed:
    """Pack what the cache has of these kernels, and all builds. LabError where it has nothing of them."""
    items: dict[Path, Item] = {}
    known: list[Known] = []
    for resolved in archive.remembered(list(kernels)).values():
        root = roots.image_path(resolved, "build")
        if not root.is_dir():
            continue
        anonymous = resolved.model_copy(update={"sources": ()})
        known.append(Known(resolved=anonymous, recipe=_recipe(resolved), root=root.name, made_as=roots.made_as(root)))
        items[root] = Item(IMAGES, root, system=True, without=(roots.MADE_AS, *OF_THE_LAB))
        if resolved.kernel.packaged_here and (packages := source_kernel.packages_path(resolved)).is_dir():
            items[packages] = Item(KERNELS, packages)
    if not known:
        named = " ".join(kernel.id for kernel in kernels)
        raise LabError(f"the cache has no build root of {named}", hint="a run makes them; or name other kernels")
    for room in BUILDS:
        folders = sorted(path for path in (cache_dir() / room).glob("*") if path.is_dir() and path.suffix != ".part")
        items |= {folder: Item(room, folder) for folder in folders}
    sha = pack(parcel, list(items.values()), native_arch(), _KNOWN.dump_json(known).decode())
    return Packed([each.resolved.kernel.id for each in known], len(items), sha)


def bring(parcel: Path, *, sha256: str = "") -> Brought:
    """Take what a parcel holds into the cache. LabError, and nothing is taken, where any of it is not as it should be."""
    new = 0
    with opened(parcel, (IMAGES, KERNELS, *BUILDS), cache_dir(), sha256=sha256) as (manifest, files):
        known = _insist_on_ours(parcel, manifest)
        roots_here = {each.root: each for each in known}
        for entry, packed in files.items():
            if entry.system != (entry.room == IMAGES) or (entry.system and entry.name not in roots_here):
                raise LabError(f"{parcel}: {entry.member} is no build root of its kernels", hint="do not use this file")
            target = cache_dir() / entry.room / entry.name
            if entry.system:
                target = roots.image_path(roots_here[entry.name].resolved, "build")
            if target.exists():
                continue
            target.parent.mkdir(exist_ok=True)
            with filled(target) as folder:
                unpack(entry, packed, folder)
                if entry.system and target.name != roots_here[entry.name].made_as:
                    write_aside(folder / roots.MADE_AS, roots_here[entry.name].made_as)
            new += 1
        for each in known:
            archive.remember(each.resolved)
    return Brought([each.resolved.kernel.id for each in known], new, len(files) - new)


def _recipe(resolved: Resolved) -> str:
    return roots.image_path(resolved, "build", anyones=True).name


def _insist_on_ours(parcel: Path, manifest: Manifest) -> list[Known]:
    """The parcel's kernels. LabError where this machine or this version would make something else of them."""
    if manifest.arch != native_arch():
        raise LabError(f"{parcel} is for {manifest.arch}, this machine is {native_arch()}", hint="export it on such a machine")
    try:
        known = _KNOWN.validate_json(manifest.note)
    except ValidationError as problem:
        raise LabError(f"{parcel} is of another kmodlab, {manifest.kmodlab}", hint="export it with this version") from problem
    inventory = load_inventory()
    for each in known:
        kernel = each.resolved.kernel
        if inventory.get(kernel.id) != kernel or _recipe(each.resolved) != each.recipe:
            raise LabError(
                f"{parcel}: another kmodlab made its build root of {kernel.id}, or of another inventory",
                hint="export it with this version",
            )
    return known
