import subprocess
from pathlib import Path

import pytest

from kmodlab import kernels
from kmodlab.errors import LabError
from kmodlab.kernels import Kernel, Resolved, UnreachableError, default_fleet, load_inventory, select, sources

INVENTORY = """
all:
  vars: {vm_memory: 512, vm_cpus: 1, vm_boot_limit: 60}
  children:
    x86_64:
      vars: {kernel_arch: x86_64, kernel_package: amd64, vm_qemu: q, vm_machine: q35, vm_console: ttyS0}
      hosts:
        6.1-x86_64: {kernel_line: "6.1", kernel_suites: [bookworm, bookworm-security]}
        6.12-x86_64: {kernel_line: "6.12", kernel_suites: [trixie]}
        6.12-rt-x86_64: {kernel_line: "6.12", kernel_suites: [trixie], kernel_package: rt-amd64, vm_memory: 1024}
    arm64:
      vars: {kernel_arch: arm64, kernel_package: arm64, vm_qemu: q, vm_machine: virt, vm_console: ttyAMA0}
      hosts:
        6.12-arm64: {kernel_line: "6.12", kernel_suites: [trixie]}
    fleet:
      hosts: {6.1-x86_64: , 6.12-x86_64: }
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Kernel]:
    monkeypatch.setattr(kernels, "native_arch", lambda: "x86_64")
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    return load_inventory(path)


def ids(words: str, inventory: dict[str, Kernel]) -> list[str]:
    return [kernel.id for kernel in select([words], inventory, ["6.1-x86_64", "6.12-x86_64"])]


def test_a_hosts_own_variable_outranks_the_common_one(inventory: dict[str, Kernel]) -> None:
    assert inventory["6.12-x86_64"].vm_memory == 512
    assert inventory["6.12-rt-x86_64"].vm_memory == 1024
    assert inventory["6.12-rt-x86_64"].kernel_package == "rt-amd64"


def test_a_line_means_the_plain_flavour_of_this_machine(inventory: dict[str, Kernel]) -> None:
    assert ids("6.12", inventory) == ["6.12-x86_64"]


def test_a_unique_part_is_enough(inventory: dict[str, Kernel]) -> None:
    assert ids("rt 6.12-arm64", inventory) == ["6.12-rt-x86_64", "6.12-arm64"]


def test_nothing_said_is_the_fleet_and_all_is_all(inventory: dict[str, Kernel]) -> None:
    assert ids("", inventory) == ["6.1-x86_64", "6.12-x86_64"]
    assert ids("all 6.1", inventory) == list(inventory)


@pytest.mark.parametrize(("word", "expected"), [("6.13", "no kernel '6.13'.*6.12-arm64"), ("6", "could be 6.1-x86_64 or")])
def test_a_word_that_names_no_single_kernel_is_refused_with_what_there_is(
    inventory: dict[str, Kernel], word: str, expected: str
) -> None:
    with pytest.raises(LabError, match=expected):
        ids(word, inventory)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"6.1"', "6.1", "host 6.1-x86_64: kernel_line"),
        ("vm_cpus: 1", "vm_cpus: 0", "vm_cpus"),
        ("kernel_arch: arm64", "kernel_arch: arm65", "host 6.12-arm64: kernel_arch"),
        ("vm_cpus: 1", "vm_cpu_count: 1", "vm_cpu_count|vm_cpus"),
        ("all:", "every:", "all.children"),
        ("children:", "children: [", "not YAML"),
    ],
)
def test_a_broken_inventory_names_file_host_and_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY.replace(old, new, 1))
    with pytest.raises(LabError, match=rf"hosts\.yml.*({expected})"):
        load_inventory(path)


def test_only_another_architecture_is_compiled_for_across(inventory: dict[str, Kernel]) -> None:
    assert inventory["6.12-arm64"].cross == "aarch64-linux-gnu-" and inventory["6.12-arm64"].foreign
    assert inventory["6.12-x86_64"].cross == "" and not inventory["6.12-x86_64"].foreign


def test_every_source_is_bound_to_debians_keyring(inventory: dict[str, Kernel]) -> None:
    lines = sources(inventory["6.1-x86_64"], "http://main", "http://security")
    assert all(f"[signed-by={kernels.KEYRING}]" in line for line in lines)
    assert [line.split()[2:4] for line in lines] == [["http://main", "bookworm"], ["http://security", "bookworm-security"]]


def test_a_suite_that_moved_is_taken_from_its_own_mirror(inventory: dict[str, Kernel]) -> None:
    moved = inventory["6.1-x86_64"].model_copy(update={"kernel_mirror": "http://archive"})
    assert all("http://archive" in line for line in sources(moved, "http://main", "http://security"))


def test_only_an_archived_suite_may_have_expired(inventory: dict[str, Kernel]) -> None:
    archived = inventory["6.1-x86_64"].model_copy(update={"kernel_archived": True})
    assert all("check-valid-until=no" in line for line in sources(archived, "http://main", "http://security"))
    assert all("signed-by=" in line for line in sources(archived, "http://main", "http://security"))
    assert not any("valid" in line for line in sources(inventory["6.1-x86_64"], "http://main", "http://security"))


def test_the_environment_chooses_the_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMODLAB_MIRROR", "http://mine/debian/")
    monkeypatch.setattr(kernels, "_apt_mirror", lambda label: None)
    assert kernels.mirrors() == ("http://mine/debian", "http://mine/debian-security")


def test_the_projects_own_inventory_holds_the_fleet_it_promises() -> None:
    promised = {"5.10-x86_64", "6.1-x86_64", "6.12-x86_64", "6.12-arm64", "7.3-x86_64"}
    assert promised <= set(default_fleet()) <= set(load_inventory())
    assert {"7.2-x86_64", "6.12-rt-x86_64"} <= set(load_inventory())
    for line in ("5.10", "6.1", "6.12", "7.3"):
        assert load_inventory()[f"{line}-arm64"].kernel_arch == "arm64"
    for name in ("6.1-armhf", "6.12-armhf", "6.12-sabrelite-armhf"):
        assert load_inventory()[name].kernel_arch == "armhf"


SOURCE = """
all:
  children:
    x86_64:
      vars: {vm_memory: 512, vm_cpus: 1, vm_boot_limit: 60, kernel_arch: x86_64, vm_qemu: q, vm_machine: q35, vm_console: ttyS0}
      hosts:
        6.12-debug-x86_64:
          {kernel_line: "6.12", kernel_suites: [trixie], kernel_package: debug, kernel_source: linux-source-6.12, KEY}
"""


def source_kernel(tmp_path: Path, more: str) -> Kernel:
    path = tmp_path / "hosts.yml"
    path.write_text(SOURCE.replace("KEY", more))
    return load_inventory(path)["6.12-debug-x86_64"]


def test_a_kernel_of_the_labs_own_has_the_version_of_its_source_and_configuration(tmp_path: Path) -> None:
    kernel = source_kernel(tmp_path, "kernel_config: kmodlab/debug.config")
    resolved = kernels._newest_source(kernel, [{"Version": "6.12.118-1"}, {"Version": "6.12.107-1"}], ())
    assert resolved.release == "6.12.118-debug"
    assert resolved.version.startswith("6.12.118-1+kmodlab") and len(resolved.version) == len("6.12.118-1+kmodlab") + 8
    assert resolved.source_package == "linux-source-6.12=6.12.118-1"


def test_a_source_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"6\.12-debug-x86_64.*kernel_source and kernel_config belong together"):
        source_kernel(tmp_path, "vm_memory: 1")


def test_a_source_that_the_archive_does_not_have_is_named(tmp_path: Path) -> None:
    kernel = source_kernel(tmp_path, "kernel_config: kmodlab/debug.config")
    with pytest.raises(LabError, match=r"no linux-source-6\.12 6\.12\.\* in trixie; mend its entry"):
        kernels._newest_source(kernel, [], ())


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """An archive with a kernel of several packages, whose lists are too old at first: what apt is asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    depends = {
        "linux-image-7.3-amd64": "dracut | tool, linux-binary-7.3-amd64 (= 7.3.4-1), linux-modules-7.3-amd64 (= 7.3.4-1)",
        "linux-binary-7.3-amd64": "linux-base-7.3-amd64 (= 7.3.4-1)",
        "linux-modules-7.3-amd64": "kmod, linux-base-7.3-amd64 (= 7.3.4-1)",
    }
    asked: list[str] = []

    def run(apt: object, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        asked.append(" ".join(command))
        old = sum("download" in each for each in asked) == 1
        return subprocess.CompletedProcess(command, 100 if old and "download" in command else 0, "", "E: 404  Not Found")

    def show(apt: object, package: str) -> list[dict[str, str]]:
        return [{"Version": "7.3.5-1", "Depends": "another"}, {"Version": "7.3.4-1", "Depends": depends.get(package, "")}]

    monkeypatch.setattr(kernels._Apt, "_run", run)
    monkeypatch.setattr(kernels._Apt, "show", show)
    monkeypatch.setattr(kernels, "KEYRING", tmp_path)
    return asked


def test_a_kernel_is_its_image_and_what_that_needs_of_the_same_version(archive: list[str], tmp_path: Path) -> None:
    resolved = kernels.Resolved(kernel=load_inventory()["7.3-x86_64"], release="7.3-amd64", version="7.3.4-1", sources=())
    kernels.download_kernel(resolved, tmp_path / "debs")
    parts = ("image", "binary", "modules", "base")
    assert archive[-1] == "apt-get download -q " + " ".join(f"linux-{part}-7.3-amd64=7.3.4-1" for part in parts)
    assert [each.split()[1] for each in archive] == ["download", "update", "download"], "old lists are fetched again, once"


def test_an_archive_that_is_not_reached_is_told_from_a_kernel_that_has_left_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = load_inventory()["6.12-x86_64"]
    before = Resolved(kernel=kernel, release="6.12.1", version="6.12.1-1", sources=("deb x",))
    answers: list[Resolved | LabError] = [before, UnreachableError("no network"), LabError("kernel 6.12-x86_64: no such package")]

    def ask(*_: object) -> Resolved:
        answer = answers.pop(0)
        if isinstance(answer, LabError):
            raise answer
        return answer

    monkeypatch.setattr(kernels, "_ask_archive", ask)
    assert kernels._resolve(kernel, ("deb x",), True) == before
    assert kernels._resolve(kernel, ("deb x",), True) == before.model_copy(update={"stale": True})
    with pytest.raises(LabError, match=r"no such package \(it had 6.12.1-1 when it was asked before\)"):
        kernels._resolve(kernel, ("deb x",), True)
