"""Inventories mean to the lab what they mean to Ansible's users."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from click.testing import CliRunner

from kmodlab import cli
from kmodlab.ground.errors import LabError
from kmodlab.plan import inventory as room
from kmodlab.plan.boards import load_boards
from kmodlab.plan.kernels import default_fleet, load_inventory

RACK = """\
rack:
  vars: {ansible_user: lab, board_offers: [keyboard]}
  children:
    arm:
      vars: {board_arch: arm64, board_boot_limit: 60}
      hosts:
        pi[1:3]: {ansible_host: "{{ inventory_hostname }}.{{ domain }}"}
      children:
        old: {hosts: {bone: {board_arch: armhf}}}
    pc: {hosts: {desk: {board_arch: x86_64, board_boot_limit: 10}}}
"""


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    """A folder of inventory files with variables beside them."""
    folder = tmp_path / "rack"
    for name, text in {
        "boards.yml": RACK,
        "more.ini": "[pc]\nattic board_arch=x86_64 ansible_port=2222 board_offers=\"['gpio', 'keyboard']\"\n",
        "group_vars/all.yml": "domain: lan\nansible_become: true\n",
        "group_vars/old/limits.yml": "board_boot_limit: 600\n",
        "host_vars/pi2.yml": "ansible_user: me\nboard_offers: ['{{ ansible_user }}']\n",
        "README.md": "Who keeps what where.",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_groups_in_groups_ranges_templates_ini_and_variables_beside_them(rack: Path) -> None:
    boards = load_boards(rack)
    assert list(boards) == ["pi1", "pi2", "pi3", "bone", "desk", "attic"]
    assert boards["pi3"].host == "pi3.lan"
    assert all(each.ansible_become for each in boards.values()), "group_vars/all.yml"
    assert [(each.board_arch, each.board_boot_limit) for each in boards.values()] == [
        *[("arm64", 60.0)] * 3,
        *[("armhf", 600.0), ("x86_64", 10.0), ("x86_64", 300.0)],
    ]
    assert (boards["pi1"].ansible_user, boards["pi2"].ansible_user) == ("lab", "me"), "a host outranks its groups"
    assert (boards["pi2"].board_offers, boards["desk"].board_offers) == (("me",), ("keyboard",))
    assert (boards["attic"].board_offers, boards["attic"].ansible_port) == (("gpio", "keyboard"), 2222)


def test_a_file_of_the_folder_has_the_variables_beside_it(rack: Path) -> None:
    assert load_boards(rack / "boards.yml")["bone"].board_boot_limit == 600
    assert list(load_boards(rack / "boards.yml")) == ["pi1", "pi2", "pi3", "bone", "desk"]


def test_a_group_of_groups_is_a_fleet(tmp_path: Path) -> None:
    path = tmp_path / "kernels.yml"
    path.write_text(
        "all: {vars: {kernel_suites: [trixie], kernel_package: x, vm_memory: 1, vm_cpus: 1, vm_boot_limit: 1, vm_qemu: q, "
        "vm_machine: m, vm_console: c}}\n"
        "x86:\n  vars: {kernel_arch: x86_64}\n"
        "  hosts: {one: {kernel_line: '6.1'}, two: {kernel_line: '6.12'}, three: {kernel_line: '7.3'}}\n"
        "stable: {hosts: {one: , two: }}\n"
        "fleet: {children: {stable: }}\n"
    )
    assert list(load_inventory(path)) == ["one", "two", "three"]
    assert default_fleet(path) == ["one", "two"]
    with pytest.raises(LabError, match=r"kernels\.yml: no group 'night'; it has: .*x86 stable fleet"):
        default_fleet(path, "night")


def test_what_a_vault_holds_is_read_with_the_password_that_ansible_is_told_of(
    rack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = VaultLib().encrypt(b"ansible_user: hidden\n", VaultSecret(b"sesame"))
    (rack / "group_vars/pc.yml").write_bytes(secret)
    with pytest.raises(LabError, match=r"rack: host desk: A vault password must be specified"):
        load_boards(rack)
    (tmp_path / "password").write_text("sesame\n")
    monkeypatch.setattr("ansible.constants.DEFAULT_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    assert load_boards(rack)["desk"].ansible_user == "hidden"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("missing.yml", None, "missing.yml: No such file or directory"),
        ("empty.yml", "", "empty.yml: it names no hosts"),
        ("broken.yml", "all:\n  hosts: [\n", r"broken.yml: line 3: YAML parsing failed: [^\n]*"),
        ("list.yml", "- pi\n", "list.yml: YAML inventory has invalid structure, it should be a dictionary"),
        ("broken.ini", "[pc\ndesk\n", "broken.ini: .*"),
        ("circle.yml", "a: {children: {b: }}\nb: {children: {a: }}\n", "circle.yml: .*recursive dependency loop"),
        ("undefined.yml", "all: {hosts: {pi: {board_arch: '{{ arch }}'}}}\n", "undefined.yml: host pi: 'arch' is undefined"),
        ("bare.yml", "all: {hosts: {pi: }}\n", "bare.yml: host pi: board_arch: Field required"),
    ],
)
def test_a_bad_inventory_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    answer = CliRunner().invoke(cli.main, ["matrix", "--modules", "examples", "--kernels", "pi", "--boards", name])
    assert answer.exit_code == 2
    said = answer.output.strip()
    assert "\n" not in said
    with pytest.raises(LabError, match=expected) as problem:
        load_boards(tmp_path / name)
    assert str(problem.value) in said


def test_a_module_of_ansibles_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of a module has a part of Ansible only, and asks another process."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {pi: {board_arch: arm64, board_offers: '{{ [\"spi\"] }}'}}}\n")
    here = load_boards(inventory)
    monkeypatch.setattr(room, "_whole_ansible", lambda: False)
    assert load_boards(inventory) == here
    inventory.write_text("all: {hosts: {pi: {board_arch: '{{ arch }}'}}}\n")
    with pytest.raises(LabError, match="host pi: 'arch' is undefined"):
        load_boards(inventory)


PLAIN = "all: {hosts: {pi: {board_arch: arm64}}}\n"


def test_what_plain_files_say_is_asked_once_and_again_when_any_of_them_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(PLAIN)
    asked: list[Path] = []
    ask = room._ask_ansible

    def heard(path: Path, wanted: tuple[str, ...]) -> object:
        asked.append(path)
        return ask(path, wanted)

    monkeypatch.setattr(room, "_ask_ansible", heard)
    first = load_boards(inventory)
    assert load_boards(inventory) == first and len(asked) == 1
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("board_boot_limit: 7\n")
    load_boards(inventory)
    assert len(asked) == 2, "what it says of a folder, Ansible itself keeps for a process's life"
    inventory.write_text(PLAIN.replace("pi:", "bone:"))
    assert list(load_boards(inventory)) == ["bone"] and len(asked) == 3
    monkeypatch.setenv("ANSIBLE_HASH_BEHAVIOUR", "merge")
    load_boards(inventory)
    assert len(asked) == 4, "a setting of Ansible's may change what an inventory means"


def test_what_files_do_not_tell_is_asked_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {pi: {board_arch: \"{{ lookup('env', 'ARCH') }}\"}}}\n")
    for arch in ("arm64", "armhf"):
        monkeypatch.setenv("ARCH", arch)
        assert load_boards(inventory)["pi"].board_arch == arch
    program = tmp_path / "rack.py"
    for arch in ("arm64", "armhf"):
        (tmp_path / "said").write_text(
            f'{{"_meta": {{"hostvars": {{"pi": {{"board_arch": "{arch}"}}}}}}, "all": {{"hosts": ["pi"]}}}}'
        )
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/said\n")
        program.chmod(0o755)
        assert load_boards(program)["pi"].board_arch == arch


def test_a_vaults_secret_is_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    secret = VaultLib().encrypt(b"ansible_user: hidden\n", VaultSecret(b"sesame"))
    rack = tmp_path / "vaulted"
    (rack / "group_vars").mkdir(parents=True)
    (rack / "hosts.yml").write_text(PLAIN)
    (rack / "group_vars/all.yml").write_bytes(secret)
    (tmp_path / "password").write_text("sesame\n")
    monkeypatch.setattr("ansible.constants.DEFAULT_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    assert load_boards(rack)["pi"].ansible_user == "hidden"
    assert not [each for each in own_cache.rglob("*.json") if b"hidden" in each.read_bytes()]


def test_a_home_that_ansible_cannot_write_to_is_one_line_and_status_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kmodlab", "kernels"]
    environment = {**os.environ, "HOME": "/proc/none", "XDG_CACHE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert answer.returncode == 2
    assert re.fullmatch(
        r"kmodlab: Ansible cannot begin: .*/proc/none/.ansible/tmp.*; mend its settings, or set ANSIBLE_HOME to .*\n",
        answer.stderr,
    )
