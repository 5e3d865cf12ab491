"""A target without a machine: the real agent and the real commands, run here behind an `ssh` of our own, on a kernel that is a
folder.

What a kernel shows is in files of the folder (proc/, sys/, dev/, kmsg), whose paths the stand-in for `ssh` puts in the place of
the real ones. `insmod` and `rmmod` do there what a kernel would do; what a module does beside that is a shell script of its name
(NAME.insmod, NAME.rmmod) in the folder, which has these commands:

    printk TEXT      the kernel says something
    refuse WHY       the command ends with the word that the real one would have
    taint NUMBER     bits of its taint
    later WHEN WHAT  one shell command as soon as another one succeeds, unless the machine has booted meanwhile
    die              every connection is lost, and the machine comes up again; not so where there is a file `down`

What is installed there, modinfo finds: NAME.depends and NAME.softdep are what it says of a module, NAME.elsewhere where else it
is.

Where there is a file `full`, nothing can be put there; where there is a file `detector`, its kernel looks for lost memory.
"""

from __future__ import annotations

import shlex
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from kmodlab.build.modules import Part, SourceModule
from kmodlab.build.trees import Tree
from kmodlab.guest.shell import AGENT
from kmodlab.plan.boards import Board, ResolvedBoard
from kmodlab.results.contract import Kernel, ModuleInfo, Stage, Verdict
from kmodlab.results.folder import Planned, Run
from kmodlab.run.lab import FILE, Lab
from kmodlab.run.order import Manner, Order

BOARD = "board"
"""Its name in the runs that are made here."""

TOOLS = {
    "ssh": """\
[ "$*" = "${*#*-O exit}" ] || exit 0
[ ! -e down ] || { echo "ssh: connect to host board: No route to host" >&2; exit 255; }
for script; do :; done
echo $$ >>connections
case $script in
*/dev/kmsg*) exec kmsg ;;
*sysrq-trigger*) die ;;
*"exec python3"*) exec PYTHON -u agent.py ;;
*) exec sh -c "$(printf %s "$script" | sed -E "s#(^|[^a-z])/(proc|sys|run/kmodlab)#\\1$PWD/\\2#g")" ;;
esac
""",
    "kmsg": """\
tail --pid=$$ -q -n +1 -f kmsg.log &
while read -r mark; do printk "kmodlab-mark $mark" 12; done
kill $!
""",
    "printk": """\
exec 9>>kmsg.log
flock 9
number=$(wc -l <kmsg.log)
echo "${2:-4},$number,$((number + 1))000,-;$1" >&9
""",
    "refuse": """\
tool=$(tr '\\0' ' ' </proc/$PPID/cmdline | grep -o 'insmod\\|rmmod' | head -n 1)
echo "$tool: ERROR: $1" >&2
""",
    "later": """\
fuse() {
    boots=$(wc -l <boots) tries=0
    until eval "$1"; do
        [ $((tries += 1)) -lt 300 ] || exit
        sleep 0.1
    done
    [ "$boots" != "$(wc -l <boots)" ] || eval "$2"
}
fuse "$@" >/dev/null 2>&1 &
""",
    "taint": "echo $(($(cat proc/sys/kernel/tainted) | $1)) >proc/sys/kernel/tainted\n",
    "die": """\
boot
for connection in $(cat connections); do
    [ "$(readlink /proc/$connection/cwd)" = "$PWD" ] && kill -9 $(cat /proc/$connection/task/$connection/children) $connection
done
""",
    "boot": """\
rm -rf proc sys dev run kmsg.log
mkdir -p proc/sys/kernel/random proc/net proc/tty sys/module sys/kernel sys/class/net sys/bus/pci dev run
: >proc/modules
: >kmsg.log
echo 0 >proc/sys/kernel/tainted
echo "  1:   9  IO-APIC  1-edge  i8042" >proc/interrupts
[ ! -e detector ] || { mkdir sys/kernel/debug; : >sys/kernel/debug/kmemleak; }
echo x >>boots
wc -l <boots >proc/sys/kernel/random/boot_id
""",
    "insmod": """\
file=$1 name=$(basename "$1" .ko | tr - _)
[ -e "$file" ] || { echo "insmod: ERROR: could not load module $file: No such file or directory" >&2; exit 1; }
[ ! -e sys/module/$name ] || { echo "insmod: ERROR: could not insert module $file: File exists" >&2; exit 1; }
mkdir sys/module/$name
cd sys/module/$name
echo live >initstate; echo 0 >refcnt; echo O >taint; echo 1.0 >version; echo ABC >srcversion
cd ../../..
echo "$name 16384 0 - Live 0x0" >>proc/modules
taint 4096
[ ! -e $name.insmod ] || . ./$name.insmod
""",
    "rmmod": """\
name=$1
[ ! -e $name.rmmod ] || . ./$name.rmmod
rm -r sys/module/$name
sed -i "/^$name /d" proc/modules
""",
    "tar": """\
[ ! -e full ] || { echo "tar: ./one.ko: Cannot write: No space left on device" >&2; exit 2; }
PATH=${PATH##*/machine/bin:}
exec tar "$@"
""",
    "uname": '[ "$1" = -m ] && echo x86_64 || echo 6.12.1-standin\n',
    "id": "echo 0\n",
    "modinfo": """\
file=$PWD/lib/modules/6.12.1-standin/updates/${2:-$3}.ko
case $1 in
-n) [ -e "$file" ] || { cat "$2.elsewhere" 2>/dev/null || { echo "modinfo: ERROR: Module $2 not found." >&2; exit 1; }; exit; } ;
    echo "$file" ;;
-F) cat "$3.$2" 2>/dev/null || echo ;;
esac
""",
    "modprobe": "exit 0\n",
}

AT_HOME = """\
import os
import re
from types import SimpleNamespace


def at_home(call):
    return lambda path, *more: call(MACHINE + path if THERE.match(path) and not path.startswith(MACHINE) else path, *more)


def spawn_at_home(path, words, *more, spawn=os.posix_spawn, **options):
    return spawn(path, [NAMED.sub(MACHINE + "/", word) for word in words], *more, **options)


def count_at_home(place):
    names = [name for _, _, names in os.walk(MACHINE + place) for name in names] if place != "/" else []
    return SimpleNamespace(f_files=len(names), f_ffree=0)


THERE, NAMED = re.compile(r"/(proc|sys|dev|run|tmp)\\b"), re.compile("(?<![a-z])/(?=(proc|sys|run/kmodlab))")
os.open, os.listdir, os.scandir, os.path.isdir = map(at_home, (os.open, os.listdir, os.scandir, os.path.isdir))
os.posix_spawn, os.statvfs = spawn_at_home, count_at_home
"""
"""Goes before the agent, which is the real one: what it reads, and what its jobs name, is in the folder."""


@dataclass
class StandIn:
    """The folder, and what its machine does next."""

    folder: Path

    def make(self) -> str:
        """Put the tools there and boot; what PATH must begin with."""
        tools = self.folder / "bin"
        tools.mkdir(parents=True)
        for name, script in TOOLS.items():
            head = f"#!/bin/sh\nPATH={shlex.quote(str(tools))}:$PATH; export PATH; cd {shlex.quote(str(self.folder))}\n"
            (tools / name).write_text(head + script.replace("PYTHON", shlex.quote(sys.executable)))
            (tools / name).chmod(0o755)
        (self.folder / "agent.py").write_text(f"MACHINE = {str(self.folder)!r}\n{AT_HOME}{AGENT}")
        self.run("boot")
        return str(tools)

    def run(self, *words: str) -> None:
        """Have the machine run one of the tools."""
        subprocess.run([str(self.folder / "bin" / words[0]), *words[1:]], check=True)

    def install(self, name: str) -> None:
        """Put a module where its modprobe would find it."""
        file = self.folder / f"lib/modules/6.12.1-standin/updates/{name}.ko"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    def module(self, name: str, *, insmod: str = "", rmmod: str = "") -> None:
        """What a module does when it is loaded and unloaded."""
        for kind, script in (("insmod", insmod), ("rmmod", rmmod)):
            (self.folder / f"{name}.{kind}").write_text(f"{script}\n")

    @property
    def boots(self) -> int:
        """How often the machine has booted."""
        return len((self.folder / "boots").read_text().splitlines())


def planned(folder: Path, names: tuple[str, ...], catalog: str = "modules: {}", *, quick: bool = False) -> Lab:
    """A run of modules of these names on the stand-in, which are built, and wait to be signed."""
    sources = folder / "sources"
    sources.mkdir()
    (sources / "catalog.yml").write_text(f"schema: 1\n{dedent(catalog)}\n")
    run = Run.create(folder / "reports")
    stages = [stage for stage in Stage if not (quick and stage is Stage.BEHAVIOUR)]
    cells = [Planned(kernel=BOARD, module=name, stages=stages) for name in names]
    run.plan([Kernel(id=BOARD, arch="x86_64")], [ModuleInfo(name=name, source="", sha256="") for name in names], cells)
    entry = Board(id=BOARD, board_arch="x86_64", board_boot_limit=1.5, board_ssh_config="/dev/null")
    order = Order(
        tree=Tree(origin=sources, folder=sources),
        modules=[SourceModule(name=name, part=Part(root=sources), path=name, objects=(name,)) for name in names],
        only=[],
        kernels={},
        boards={BOARD: ResolvedBoard(board=entry, inventory=sources, release="6.12.1-standin", distribution="debian-13")},
        manner=Manner(quick=quick),
    )
    (run.folder / FILE).write_text(order.model_dump_json())
    lab = Lab(run, order)
    column = lab.column(BOARD)
    column.make_folders()
    for name in names:
        (sources / f"{name}.c").touch()
        column.ko(name).write_bytes(ko(name=name, version="1.0", srcversion="ABC", depends=""))
        column.record(name, Stage.BUILD, Verdict.PASS)
    return lab


def ko(**fields: str) -> bytes:
    """As much of a module's file as modinfo and a signature need: an ELF file with what the module says of itself."""
    said = b"".join(f"{name}={value}\0".encode() for name, value in fields.items())
    names = b"\0.modinfo\0.shstrtab\0"
    header = struct.Struct("<16sHHIQQQIHHHHHH")
    sections = ((0, 0, 0, 0), (1, 1, header.size, len(said)), (10, 3, header.size + len(said), len(names)))
    table = header.size + len(said) + len(names)
    head = header.pack(b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, table, 0, header.size, 0, 0, 64, len(sections), 2)
    rows = (struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, start, size, 0, 0, 1, 0) for name, kind, start, size in sections)
    return head + said + names + b"".join(rows)
