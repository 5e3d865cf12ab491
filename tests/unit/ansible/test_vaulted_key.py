"""A key from ansible-vault signs through the role, and is in no output, however talkative."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from own_key import openssl

from kmodlab.ground.cache import REPOSITORY

WORDS = "open sesame"
PLAY = [
    {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Look after the key",
                "ansible.builtin.include_role": {"name": "kmodlab.lab.module_signing"},
                "vars": {
                    "module_signing_private_key_content": "{{ vault_key }}",
                    "module_signing_certificate_content": "{{ vault_certificate }}",
                    "module_signing_passphrase": "{{ vault_passphrase }}",
                    "module_signing_enrol": False,
                },
            }
        ],
    }
]


def ansible(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / tool, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        cwd=REPOSITORY,
    )


@pytest.mark.parametrize("words", [WORDS, "a wrong one"], ids=["right", "wrong"])
def test_a_vaulted_key_is_used_and_never_shown(tmp_path: Path, words: str) -> None:
    private, pem = openssl(tmp_path, "-passout", f"pass:{WORDS}")
    body = private.read_text()
    private.unlink()
    vault, password, play = tmp_path / "vault.yml", tmp_path / "password", tmp_path / "play.yml"
    vault.write_text(yaml.safe_dump({"vault_key": body, "vault_certificate": pem.read_text(), "vault_passphrase": words}))
    password.write_text("of the vault")
    assert ansible("ansible-vault", "encrypt", "--vault-password-file", password, vault).returncode == 0
    assert "PRIVATE" not in vault.read_text()
    play.write_text(yaml.safe_dump(PLAY))
    options = ("-vvv", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", "-e", f"@{vault}")
    done = ansible("ansible-playbook", *options, "--vault-password-file", password, play)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (words == WORDS), said
    assert "Look after the key" in said
    assert body.splitlines()[2] not in said
    assert words not in said
