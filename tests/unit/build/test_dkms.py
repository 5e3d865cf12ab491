"""A dkms.conf is a shell script, and says for which kernels its package is."""

from pathlib import Path

import pytest

from kmodlab.build import dkms, make
from kmodlab.build.modules import Part
from kmodlab.ground import sandbox
from kmodlab.ground.errors import LabError
from kmodlab.ground.sandbox import Answer, Limits

HEAD = 'PACKAGE_NAME="toy"\nPACKAGE_VERSION="1.0"\n'


def package(folder: Path, conf: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "dkms.conf").write_text(HEAD + conf)
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return folder


def build(folder: Path, tmp_path: Path, release: str = "6.12.1-amd64") -> Answer:
    tools = tmp_path / "tools"
    tools.mkdir(mode=0o755, exist_ok=True)
    (tools / "dkms-build").write_text(dkms.BUILD)
    (tools / "dkms-build").chmod(0o755)
    command = ["dkms-build", "build", release, "x86_64", "2"]
    return sandbox.run(None, command, work=folder, read_only={tools: make.TOOLS}, limits=Limits(seconds=30))


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ('BUILT_MODULE_NAME[0]="toy"\nDEST_MODULE_LOCATION[0]="/updates"\n', ["toy"]),
        ("DEST_MODULE_LOCATION[0]=/updates\n", ["toy"]),
        ('BUILT_MODULE_NAME=(a b)\nBUILT_MODULE_LOCATION=("src/" "./drivers/b")\n', ["src/a", "drivers/b/b"]),
        ("i=0; for each in x y; do BUILT_MODULE_NAME[i]=$each; i=$((i+1)); done\necho noise\n", ["x", "y"]),
        ("[[ $kernelver == 5.* ]] && BUILT_MODULE_NAME[0]=old\n[[ $kernelver == 6.* ]] && BUILT_MODULE_NAME[0]=new\n", ["new"]),
    ],
)
def test_the_modules_of_a_package(tmp_path: Path, conf: str, expected: list[str]) -> None:
    folder = package(tmp_path / "p", conf)
    assert dkms.named(None, "6.12.1-amd64", Part(root=folder, dkms=True)) == expected


@pytest.mark.parametrize("conf", ["PACKAGE_NAME=\n", "if\n", "exit 3\n"])
def test_what_is_no_dkms_conf(tmp_path: Path, conf: str) -> None:
    with pytest.raises(LabError, match=r"dkms\.conf cannot be read: "):
        dkms.named(None, "6.12.1-amd64", Part(root=package(tmp_path / "p", conf), dkms=True))


@pytest.mark.parametrize(
    ("conf", "why"),
    [
        ('BUILD_EXCLUSIVE_KERNEL="^5\\."\n', 'BUILD_EXCLUSIVE_KERNEL="^5\\." does not match 6.12.1-amd64'),
        ('BUILD_EXCLUSIVE_KERNEL_MIN="6.13"\n', 'BUILD_EXCLUSIVE_KERNEL_MIN="6.13" is newer than 6.12.1-amd64'),
        ('BUILD_EXCLUSIVE_KERNEL_MAX="6.9"\n', 'BUILD_EXCLUSIVE_KERNEL_MAX="6.9" is older than 6.12.1-amd64'),
        ('BUILD_EXCLUSIVE_ARCH="arm"\n', 'BUILD_EXCLUSIVE_ARCH="arm" does not match x86_64'),
        ('BUILD_EXCLUSIVE_CONFIG="CONFIG_PCI"\n', "this kernel has no CONFIG_PCI"),
    ],
)
def test_a_package_says_for_which_kernels_it_is_not(tmp_path: Path, conf: str, why: str) -> None:
    answer = build(package(tmp_path / "p", conf), tmp_path)
    assert answer.status == 77 and why in dkms.excluded(answer.output)


def test_a_package_is_built_as_it_says(tmp_path: Path) -> None:
    conf = (
        "BUILT_MODULE_NAME[0]=toy\nBUILT_MODULE_LOCATION[0]=src\nPRE_BUILD='before one'\nPOST_BUILD=after\n"
        "BUILD_EXCLUSIVE_KERNEL='^6'\nBUILD_EXCLUSIVE_KERNEL_MIN=6.12\nBUILD_EXCLUSIVE_KERNEL_MAX=6.12.1\n"
        'MAKE[0]="false"\nMAKE[1]="touch ${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build/src/toy.ko"\n'
        "MAKE_MATCH[1]='^6\\.1[0-9]'\nMAKE[2]=false\nMAKE_MATCH[2]='^5'\n"
    )
    scripts = {"before": "#!/bin/sh\necho before $1; mkdir -p src; echo $PWD\n", "after": "#!/bin/sh\necho after\n"}
    folder = package(tmp_path / "p", conf, **scripts)
    answer = build(folder, tmp_path)
    assert answer.status == 0, answer.output
    assert "before one" in answer.output and "after" in answer.output and "/toy/1.0/build" in answer.output
    assert (folder / "src/toy.ko").is_file()


def test_what_a_build_does_not_make_is_said(tmp_path: Path) -> None:
    folder = package(tmp_path / "p", "BUILT_MODULE_NAME=(one two)\nMAKE[0]='touch one.ko'\n")
    answer = build(folder, tmp_path)
    assert answer.status == 7 and "error: the build of dkms.conf makes no two.ko" in answer.output
    assert (folder / "one.ko").is_file()


def test_the_usual_make_is_told_the_kernel_and_jobs(tmp_path: Path) -> None:
    answer = build(package(tmp_path / "p", "BUILT_MODULE_NAME[0]=toy\n"), tmp_path)
    build_folder = "/mnt/.dkms/toy/1.0/build"
    kdir = "/lib/modules/6.12.1-amd64/build"
    assert f"kmodlab: make -j2 KERNELRELEASE=6.12.1-amd64 -C {kdir} M={build_folder}" in answer.output
    quoted = build(package(tmp_path / "q", "BUILT_MODULE_NAME[0]=toy\nMAKE[0]=\"'make' all\"\n"), tmp_path)
    assert "kmodlab: 'make' all" in quoted.output
