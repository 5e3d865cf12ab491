"""What is asked of a kernel's configuration, and what its own rules make of it."""

import subprocess
from pathlib import Path

from kmodlab.debian import initrd
from kmodlab.debian.archive import Resolved
from kmodlab.debian.source_kernel import _uml_packages, lost_lines
from kmodlab.plan.kernels import load_inventory

CONFIG = """\
CONFIG_KASAN=y
CONFIG_NR_CPUS=8
# CONFIG_DEBUG_VM is not set
"""


def test_what_the_kernels_rules_overrule_is_named() -> None:
    wanted = "# CONFIG words in a comment\n\nCONFIG_KASAN=y\nCONFIG_NR_CPUS=4\nCONFIG_GPIO_SIM=y\n"
    assert lost_lines(wanted, CONFIG) == ["CONFIG_NR_CPUS=4", "CONFIG_GPIO_SIM=y"]


def test_what_is_to_be_off_may_not_be_on_and_need_not_be_offered() -> None:
    wanted = "# CONFIG_DEBUG_VM is not set\n# CONFIG_ABSENT is not set\n# CONFIG_KASAN is not set\n"
    assert lost_lines(wanted, CONFIG) == ["# CONFIG_KASAN is not set"]


MAKE = """#!/bin/sh
# Stands where the kernel's make does: it makes what that leaves behind.
for word; do case $word in KBUILD_RUN_COMMAND=*) target=${word##* } ;; esac; done
cd source
if [ "$target" ]; then
    printf 'VERSION = 6\\nARCH\\t\\t?= $(SUBARCH)\\n' >$target/Makefile
else
    echo kernel >linux
    touch modules.builtin modules.builtin.modinfo modules.order arch/x86/um/ldt.o arch/x86/um/.ldt.o.cmd
fi
"""


def test_a_kernel_that_is_a_program_comes_as_the_packages_of_any_other(tmp_path: Path) -> None:
    kernel = load_inventory()["um-6.12"]
    resolved = Resolved(kernel=kernel, release="6.12.9-um", version="6.12.9-1+kmodlab0", sources=())
    for name in ("arch/x86/Makefile.um", "arch/x86/include/asm/a.h", "arch/x86/um/asm/b.h", "arch/x86/um/ldt.c"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_text(name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/make").write_text(MAKE)
    (tmp_path / "bin/make").chmod(0o755)
    script = f"PATH={tmp_path}/bin:$PATH\n{_uml_packages(resolved)}".replace("/mnt/", f"{tmp_path}/")
    subprocess.run(["sh", "-e", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    for kind in ("image", "headers"):
        package = tmp_path / "packages" / f"linux-{kind}-6.12.9-um_6.12.9-1+kmodlab0_amd64.deb"
        subprocess.run(["dpkg-deb", "-x", package, tmp_path / "root"], check=True)
        fields = subprocess.run(["dpkg-deb", "-f", package], capture_output=True, text=True, check=True).stdout
        assert f"Package: linux-{kind}-6.12.9-um\nVersion: 6.12.9-1+kmodlab0\n" in fields
    root = tmp_path / "root"
    assert (root / "boot/vmlinuz-6.12.9-um").read_text() == "kernel\n"
    assert (root / "lib/modules/6.12.9-um/modules.builtin").exists()
    headers = root / "usr/src/linux-headers-6.12.9-um"
    assert (root / "lib/modules/6.12.9-um/build").readlink() == Path("/usr/src/linux-headers-6.12.9-um")
    assert (headers / "Makefile").read_text() == "VERSION = 6\noverride ARCH := um\n"
    found = sorted(str(path.relative_to(headers)) for path in headers.rglob("*") if path.is_file())
    assert found == ["Makefile", "arch/x86/Makefile.um", "arch/x86/include/asm/a.h", "arch/x86/um/asm/b.h"]


def test_its_initramfs_hands_over_to_a_login_on_its_line_and_others_to_their_network() -> None:
    kernels = load_inventory()
    line, network = initrd._init(kernels["um-6.12"]), initrd._init(kernels["6.12-x86_64"])
    assert "mount -t erofs -o ro /dev/ubda /lower" in line and "switch_root /root /run/um_init.sh" in line
    assert "switch_root /root /usr/local/sbin/kmodlab-init" in network and "um_init" not in network
    assert initrd.LINE_INIT.read_text() in initrd.recipe(kernels["um-6.12"])
    for text in (line, initrd.LINE_INIT.read_text()):
        assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
