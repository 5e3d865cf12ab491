"""How a part of a tree is built for one kernel: its author's own way first, with everything in reach that an author expects.

`make` is run in the part's top without a target, as the author would on a machine that runs the kernel: `uname` names it, and so
do the usual variables (KDIR and its kin) in the environment, where a Makefile that knows better overrides them. One that never
comes to the kernel's rules so, because it insists on another place, is told on the command line; one that still does not is left
aside, and its folders are built as the kernel's documentation says: `make -C KDIR M=FOLDER`. Only when the kernel's rules are
called is make told how many jobs it may run: many a Makefile breaks with more than one. `-k` has a broken module cost itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kmodlab.build import dkms
from kmodlab.build.modules import Part, SourceModule
from kmodlab.build.trees import working_copy
from kmodlab.ground import sandbox
from kmodlab.ground.files import read_regular, regular_files, scratch
from kmodlab.ground.sandbox import Answer, Limits

TREE_NAMES = (
    *("KDIR", "KERNELDIR", "KERNEL_DIR", "KERNEL_SRC", "KERNEL_SOURCE", "KERNELSRC", "KSRC", "KERNEL_PATH", "KPATH", "KERN_DIR"),
    *(
        "KERNEL_TREE",
        "KERNEL_BUILD_DIR",
        "KERNEL_SOURCE_DIR",
        "KBUILD_DIR",
        "LINUX_DIR",
        "LINUXDIR",
        "LINUX_SRC",
        "LINUXSRC",
        "SYSSRC",
    ),
)
"""What Makefiles call the folder of the kernel's rules and headers."""
RELEASE_NAMES = ("KVERSION", "KVER", "KERNEL_VERSION", "KERNEL_RELEASE", "TARGET_KERNEL")
"""What they call its release. Not KERNELRELEASE: two-faced Makefiles tell by it that kbuild reads them."""
MACHINES = {"aarch64-linux-gnu-": ("aarch64", "arm64"), "arm-linux-gnueabihf-": ("armv7l", "arm")}
"""What `uname -m` says, and what the kernel calls it, by the prefix of a cross compiler."""
TOOLS = Path("/usr/local/sbin")
"""Where the sandbox's programs look first."""
UNAME = """\
#!/bin/sh
# The kernel that is built for, whichever runs.
[ $# = 0 ] && set -- -s
for word; do case $word in
    --kernel-release) set -- -r;; --machine | --processor | --hardware-platform) set -- -m;; --all) set -- -a;;
    --kernel-name | --operating-system) set -- -s;; --nodename) set -- -n;; --kernel-version) set -- -v;;
esac; done
said=
for word; do case $word in -*a*) word=-snrvm;; esac
    for letter in s n r v m; do case $word in
        -*$letter*) case $letter in s) add=Linux;; n) add=kmodlab;; r) add={release};; v) add='#1 SMP';; m) add={machine};; esac
            said="$said${{said:+ }}$add";;
    esac; done
    case $word in -*[pi]*) said="$said${{said:+ }}{machine}";; -*o*) said="$said${{said:+ }}GNU/Linux";; esac
done
echo "$said"
"""
MAKE = """\
#!/bin/bash
# make, which runs several jobs where it is asked to build modules for a kernel.
for word; do
    case $word in
    M=* | SUBDIRS=* | KBUILD_EXTMOD=*)
        case " $MAKEFLAGS " in *" -j"* | *jobserver*) ;; *) set -- "$@" -j{jobs} --output-sync=target;; esac
        break;;
    esac
done
exec -a make /usr/bin/make "$@"
"""
RESTRICT = """\
#!/bin/sh
# Put rules of ours in front of those in a folder, which leave modules out by name.
place=$1
[ -e "$place/.kmodlab" ] && exit 0
rules=Makefile
if [ -f "$place/Kbuild" ]; then mv "$place/Kbuild" "$place/Kbuild.theirs" && rules=Kbuild.theirs; fi
cat >"$place/Kbuild" <<EOF
include \\$(dir \\$(lastword \\$(MAKEFILE_LIST)))$rules
kmodlab-here = \\$(patsubst $place/%,%,\\$(filter $place/%,\\$(1)))
obj-m := \\$(if \\$(KMODLAB_ONLY),\\$(filter %/ \\$(call kmodlab-here,\\$(KMODLAB_ONLY)),\\$(obj-m)),\\$(obj-m))
obj-m := \\$(filter-out \\$(call kmodlab-here,\\$(KMODLAB_WITHOUT)),\\$(obj-m))
EOF
: >"$place/.kmodlab"
"""
SYMBOLS = "Module.symvers"
"""kbuild's list of what modules export."""
MOST_LISTS = 100
LARGEST_LIST = 1 << 22
"""Bytes of one."""
SCRIPT = """\
cd "$1" && export PWD || exit
count=$2
shift 2
while [ "$count" -gt 0 ]; do restrict "$1" || exit; shift; count=$((count - 1)); done
exec "$@"
"""
"""TOP, the number of folders whose rules are restricted, these, and the command."""
STRIP = 'for file; do "$0objcopy" --compress-debug-sections "$file" "$file.debug"; "$0strip" --strip-debug "$file"; done'
NOTES = """\
for file; do
    sed "s,^$PWD/,," "${file%.ko}.mod" | tr ' ' '\\n' | while read -r object; do
        for note in "$object" "$(dirname "$file")/$object"; do [ -f "${note%.o}.gcno" ] && echo "${note%.o}.gcno" && break; done
    done | tar -cf "$file.notes" -T -
done"""
"""Packs what the compiler notes of each object that a module is linked of, beside it."""
STRIPPING = Limits(seconds=600)


@dataclass(frozen=True)
class Target:
    """What modules are built for, and where."""

    root: Path
    release: str
    cross: str
    limits: Limits
    symbols: Mapping[Part, str] = field(default_factory=dict)
    """What other parts of the tree export, as kbuild lists it."""
    coverage: bool = False
    """Have the modules count how often each of their lines runs, where the kernel can keep that (CONFIG_GCOV_KERNEL)."""

    @property
    def kdir(self) -> str:
        """The folder of its rules and headers."""
        return f"/lib/modules/{self.release}/build"


DEBUG = "KCFLAGS=-g"
"""Debug information, by which reports name lines of C, where the kernel itself was built without."""
COUNTING = "GCOV_PROFILE=y"
"""In the environment: kbuild's own rules say otherwise for what it makes itself of a module."""
WAYS = ("environment", "command line", "kbuild")
"""How a kernel is told to a part's Makefile; the last leaves that aside."""


class Bench:
    """A copy of a part to build in, of which nothing remains."""

    def __init__(self, target: Target, part: Part, work: Path, tools: Path) -> None:
        self._target = target
        self._part = part
        self._work = work
        self._tools = tools

    def ways(self) -> tuple[str, ...]:
        """Those that are worth trying, in this order."""
        part = self._part
        if part.dkms:
            return ("dkms",)
        texts = [part.folder / name for name in ("GNUmakefile", "makefile", "Makefile")]
        own = next((path.read_bytes()[: 1 << 20] for path in texts if path.is_file() and not path.is_symlink()), b"")
        recipes = b"\n\t" in own or b"include" in own or b";" in own
        return ((*WAYS[:2],) if recipes else ()) + (WAYS[2:] if "." in part.rules or not recipes else ())

    def make(
        self,
        way: str,
        only: Iterable[SourceModule] = (),
        without: Iterable[SourceModule] = (),
        *,
        jobs: int = os.cpu_count() or 1,
    ) -> Answer:
        """Build; of modules that rules name only some, or without some, where that is asked for."""
        target, part = self._target, self._part
        chosen = {"KMODLAB_ONLY": only, "KMODLAB_WITHOUT": without}
        wanted = {name: " ".join(f"./{each.path}.o" for each in modules) for name, modules in chosen.items()}
        machine, arch = MACHINES.get(target.cross, (os.uname().machine, ""))
        self._tool("uname", UNAME.format(release=target.release, machine=machine))
        self._tool("make", MAKE.format(jobs=jobs))
        self._tool("restrict", RESTRICT)
        across = [f"ARCH={arch}", f"CROSS_COMPILE={target.cross}"] if target.cross else []
        names = [*(f"{name}={target.kdir}" for name in TREE_NAMES), *(f"{name}={target.release}" for name in RELEASE_NAMES)]
        environment = [*(f"{name}={value}" for name, value in wanted.items()), *across, DEBUG]
        environment += [COUNTING] if target.coverage else []
        if target.symbols:
            self._tool(SYMBOLS, "".join(target.symbols.values()))
            environment.append(f"KBUILD_EXTRA_SYMBOLS={TOOLS / SYMBOLS}")
        if way == "dkms":
            self._tool("dkms-build", dkms.BUILD)
            command = ["dkms-build", "build", target.release, arch or machine, str(jobs)]
        elif way == "kbuild":
            folder = os.path.normpath(sandbox.WORK / part.top)
            command = ["make", "-k", "-C", target.kdir, f"M={folder}", *across, *part.make, "modules"]
        elif way == "command line":
            environment += names
            command = ["make", "-k", *names, *across, *part.make]
        else:
            environment += names
            command = ["make", "-k", *across, *part.make]
        places = [f"./{place}".removesuffix("/.") for place in part.rules] if any(wanted.values()) else []
        return sandbox.run(
            target.root,
            ["sh", "-c", SCRIPT, "sh", part.top, str(len(places)), *places, "env", *environment, *command],
            work=self._work,
            read_only={self._tools: TOOLS},
            limits=target.limits,
        )

    def _tool(self, name: str, text: str) -> None:
        path = self._tools / name
        path.write_text(text)
        path.chmod(0o755)

    def products(self) -> dict[str, Path]:
        """The modules that were made, by their paths from the part's top without suffix.

        A copy of one that a Makefile puts somewhere is no other module.
        """
        top = Path(os.path.normpath(self._work / self._part.top))
        found = [path for path in regular_files(self._work, "*.ko") if path.is_relative_to(top)]
        if self._part.dkms:
            inside = self._work / dkms.INSIDE
            return {str(path.relative_to(top).with_suffix("")): path for path in found if not path.is_relative_to(inside)}
        made = {path for path in found if any(path.with_suffix(suffix).is_file() for suffix in (".mod.o", ".mod.c", ".mod"))}
        originals = {path.name for path in made}
        return {str(path.relative_to(top).with_suffix("")): path for path in found if path in made or path.name not in originals}

    def symbols(self) -> str:
        """What the modules that were made export, as kbuild lists it."""
        found = regular_files(self._work, SYMBOLS)[:MOST_LISTS]
        return "".join(read_regular(path, LARGEST_LIST).decode(errors="replace") for path in found)

    def strip(self, products: Iterable[Path]) -> None:
        """Take out of modules what only a debugger reads, as `make modules_install` does.

        That is nine tenths of a module, all of which an emulated guest must receive, hash and check at each load. It is kept
        beside each, as NAME.ko.debug, for reports that name functions; as NAME.ko.notes what its counts are read with.
        """
        names = [f"./{path.relative_to(self._work)}" for path in products]
        if names:
            command = ["sh", "-c", STRIP, self._target.cross, *names]
            sandbox.run(self._target.root, command, work=self._work, limits=STRIPPING)
            if self._target.coverage:
                sandbox.run(self._target.root, ["sh", "-c", NOTES, "sh", *names], work=self._work, limits=STRIPPING)


@contextmanager
def bench(target: Target, part: Part) -> Iterator[Bench]:
    """A copy of a part to build in. What other parts export is listed where a build of theirs would have left it, too."""
    with working_copy(part.root) as work, scratch("tools") as tools:
        tools.chmod(0o755)
        for other, text in target.symbols.items():
            if other.folder.is_relative_to(part.root):
                (work / other.folder.relative_to(part.root) / SYMBOLS).write_text(text)
        yield Bench(target, part, work, tools)
