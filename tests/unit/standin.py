"""A target without a machine: the real agent and the real commands, run here behind an `ssh` of our own, on a kernel that is a
folder.

What a kernel shows is in files of the folder (proc/, sys/, dev/, kmsg), whose paths the stand-in for `ssh` puts in the place of
the real ones. `insmod` and `rmmod` do there what a kernel would do; what a module does beside that is a shell script of its name
(NAME.insmod, NAME.rmmod) in the folder, which has these commands:

    printk TEXT      the kernel says something
    refuse WHY       the command ends with the word that the real one would have
    taint NUMBER     bits of its taint
    die              every connection is lost, and the machine comes up again; not so where there is a file `down`

Where there is a file `full`, nothing can be put there.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kmodlab.guest.shell import AGENT

TOOLS = {
    "ssh": """\
[ "$*" = "${*#*-O exit}" ] || exit 0
[ ! -e down ] || { echo "ssh: connect to host board: No route to host" >&2; exit 255; }
for script; do :; done
echo $$ >>connections
case $script in
*/dev/kmsg*) exec kmsg ;;
*sysrq-trigger*) die ;;
*python3*) exec PYTHON -u agent.py ;;
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
    "taint": "echo $(($(cat proc/sys/kernel/tainted) | $1)) >proc/sys/kernel/tainted\n",
    "die": """\
boot
for connection in $(cat connections); do
    [ "$(readlink /proc/$connection/cwd)" = "$PWD" ] && kill -9 $connection
done
""",
    "boot": """\
rm -rf proc sys dev run kmsg.log
mkdir -p proc/sys/kernel/random proc/net proc/tty sys/module sys/kernel sys/class/net sys/bus/pci dev run
: >proc/modules
: >kmsg.log
echo 0 >proc/sys/kernel/tainted
echo "  1:   9  IO-APIC  1-edge  i8042" >proc/interrupts
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
    "uname": "echo 6.12.1-standin\n",
    "modprobe": "exit 0\n",
}


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
        (self.folder / "agent.py").write_text(self._agent())
        self.run("boot")
        return str(tools)

    def _agent(self) -> str:
        """The agent, which looks at the folder, and whose jobs do."""
        looking = re.sub(r'"/(?=(proc|sys|dev)\b)', f'"{self.folder}/', AGENT)
        working = looking.replace('"-c", script]', '"-c", HERE.sub(PLACE, script)]')
        assert looking != AGENT and working != looking
        here = f"import re\nHERE, PLACE = re.compile('(?<![a-z])/(?=(proc|sys|run/kmodlab))'), {str(self.folder) + '/'!r}\n"
        return f"{here}{working}"

    def run(self, *words: str) -> None:
        """Have the machine run one of the tools."""
        subprocess.run([str(self.folder / "bin" / words[0]), *words[1:]], check=True)

    def module(self, name: str, *, insmod: str = "", rmmod: str = "") -> None:
        """What a module does when it is loaded and unloaded."""
        for kind, script in (("insmod", insmod), ("rmmod", rmmod)):
            (self.folder / f"{name}.{kind}").write_text(f"{script}\n")

    @property
    def boots(self) -> int:
        """How often the machine has booted."""
        return len((self.folder / "boots").read_text().splitlines())
