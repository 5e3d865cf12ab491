"""What a stranger's Makefile finds in its sandbox."""

from pathlib import Path

import pytest

from kmodlab.build import make
from kmodlab.ground import sandbox
from kmodlab.ground.sandbox import Limits

LIMITS = Limits(seconds=30)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir(mode=0o755)
    for name, text in {
        "uname": make.UNAME.format(release="6.12.1-arm64", machine="aarch64"),
        "make": make.MAKE.format(jobs=3),
        "restrict": make.RESTRICT,
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def said(tools: Path, script: str, work: Path | None = None) -> str:
    answer = sandbox.run(None, ["sh", "-c", script], work=work, read_only={tools: make.TOOLS}, limits=LIMITS)
    assert answer.status == 0, answer.output
    return answer.output.strip()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-r", "6.12.1-arm64"),
        ("-m", "aarch64"),
        ("", "Linux"),
        ("-s -r", "Linux 6.12.1-arm64"),
        ("-rm", "6.12.1-arm64 aarch64"),
        ("--kernel-release", "6.12.1-arm64"),
        ("-p", "aarch64"),
        ("-o", "GNU/Linux"),
    ],
)
def test_uname_names_the_kernel_that_is_built_for(tools: Path, options: str, expected: str) -> None:
    assert said(tools, f"uname {options}") == expected


def test_jobs_are_for_the_kernels_rules_only(tools: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "kernel").mkdir(parents=True)
    (work / "Makefile").write_text("all:\n\t@echo top $(MAKEFLAGS)\n\t@$(MAKE) -C kernel M=$(PWD)\n\t@make -C kernel M=$(PWD)\n")
    (work / "kernel/Makefile").write_text("all:\n\t@echo kernel $(MAKEFLAGS)\n")
    told = [line.split() for line in said(tools, "make -k", work).splitlines() if line.startswith(("top", "kernel"))]
    assert [words[0] for words in told] == ["top", "kernel", "kernel"]
    assert "-j3" not in told[0] and all("-j3" in words for words in told[1:])


def test_rules_are_restricted_in_their_folder_and_only_once(tools: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "core").mkdir(parents=True)
    (work / "Kbuild").write_text("obj-m := a.o b.o core/\n")
    (work / "core/Makefile").write_text("obj-m := a.o c.o\n")
    (work / "print.mk").write_text("include $(where)/Kbuild\nall: ; @echo $(obj-m)\n")
    restrict = "restrict . && restrict . && restrict ./core && "
    show = "make -f print.mk where={} KMODLAB_{}"
    assert said(tools, restrict + show.format(".", "ONLY='./a.o ./core/c.o'"), work) == "a.o core/"
    assert said(tools, show.format("core", "ONLY='./a.o ./core/c.o'"), work) == "c.o"
    assert said(tools, show.format("core", "WITHOUT=./core/c.o"), work) == "a.o"
    assert said(tools, show.format(".", "WITHOUT=./core/a.o"), work) == "a.o b.o core/"
    assert not (work / "core/Kbuild.theirs").exists()
