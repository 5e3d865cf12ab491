"""The headers' package follows the kernel through upgrades, on every distribution; what is not supported is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kmodlab.ground.cache import REPOSITORY

GOOD = {
    "Debian 11 5.10.0-30-amd64": "linux-headers-amd64",
    "Debian 11 5.10.0-30-686-pae": "linux-headers-686-pae",
    "Debian 12 6.1.0-18-cloud-amd64": "linux-headers-cloud-amd64",
    "Debian 12 6.1.0-18-rt-amd64": "linux-headers-rt-amd64",
    "Debian 12 6.1.0-18-armmp-lpae": "linux-headers-armmp-lpae",
    "Debian 13 6.12.107+deb13-amd64": "linux-headers-amd64",
    "Debian 13 6.12.107+deb13-arm64": "linux-headers-arm64",
    "Debian 12 6.12.34+rpt-rpi-v8": "linux-headers-rpi-v8",
    "Debian 12 6.12.34+rpt-rpi-2712": "linux-headers-rpi-2712",
    "Debian 11 6.1.21-v8+": "raspberrypi-kernel-headers",
    "Raspbian 11 6.1.21-v7l+": "raspberrypi-kernel-headers",
    "Raspbian 12 6.12.34+rpt-rpi-v7": "linux-headers-rpi-v7",
    "Ubuntu 22.04 5.15.0-122-generic": "linux-headers-generic",
    "Ubuntu 22.04 6.8.0-45-generic": "linux-headers-generic-hwe-22.04",
    "Ubuntu 24.04 6.8.0-45-lowlatency": "linux-headers-lowlatency",
    "Ubuntu 24.04 6.11.0-9-generic": "linux-headers-generic-hwe-24.04",
    "Ubuntu 24.04 6.8.0-1012-raspi": "linux-headers-raspi",
    "Fedora 43 6.17.1-300.fc43.x86_64": "kernel-devel-matched",
}
BAD = ("Debian 10 4.19.0-27-amd64", "Archlinux 1 6.17.1-arch1-1", "Debian 12 6.9.0-mine", "Ubuntu 23.10 6.5.0-9-generic")
SAID = "{{ [__seat_version in __seat_supported[__seat_distribution] | default([]), __seat_headers] | to_json }}"
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(REPOSITORY / "roles/seat/defaults/main.yml"), str(REPOSITORY / "roles/seat/vars/main.yml")],
        "tasks": [
            {
                "ansible.builtin.set_fact": {
                    "distribution": "{{ system[0] }}",
                    "distribution_version": "{{ system[1] }}",
                    "distribution_major_version": "{{ system[1].split('.')[0] }}",
                    "kernel": "{{ system[2] }}",
                    "cacheable": True,
                }
            },
            {
                "ansible.builtin.copy": {
                    "dest": "{{ told }}/{{ inventory_hostname }}",
                    "content": SAID,
                    "mode": "0644",
                }
            },
        ],
    }
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, list[str]]]:
    """What the role's data say of every system: is it supported, and what are its headers?"""
    folder = tmp_path_factory.mktemp("told")
    systems = dict(enumerate((*GOOD, *BAD)))
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "told": str(folder)}
    hosts = {f"seat{number}": {"system": system.split()} for number, system in systems.items()}
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": here, "hosts": hosts}}))
    (folder / "play.yml").write_text(json.dumps(PLAY))
    command: list[str | Path] = [
        Path(sys.executable).parent / "ansible-playbook",
        "-i",
        folder / "hosts.json",
        folder / "play.yml",
    ]
    answer = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=300)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return {system: json.loads((folder / f"seat{number}").read_text()) for number, system in systems.items()}


def test_headers_are_the_meta_package_and_the_running_kernels(told: dict[str, tuple[bool, list[str]]]) -> None:
    assert {system: told[system][1][0] for system in GOOD} == GOOD
    assert all(supported and len(headers) == 2 for supported, headers in (told[system] for system in GOOD))
    assert told["Debian 12 6.1.0-18-rt-amd64"][1][1] == "linux-headers-6.1.0-18-rt-amd64"
    assert told["Fedora 43 6.17.1-300.fc43.x86_64"][1][1] == "kernel-devel-6.17.1-300.fc43.x86_64"


@pytest.mark.parametrize("system", BAD)
def test_what_is_not_supported_is_no_seat(told: dict[str, tuple[bool, list[str]]], system: str) -> None:
    supported, headers = told[system]
    assert not (supported and len(headers) == 2)
