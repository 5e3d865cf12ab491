"""A folder's files as one archive, made on the controller without a task: one thing is brought over sooner than fifty."""

from __future__ import annotations

DOCUMENTATION = """
name: packed
short_description: A folder of the controller as one archive
description:
  - Packs what the patterns name of a folder into a compressed tar, in base64, for M(kmodlab.lab.hand_out).
  - The same files always give the same text.
options:
  _terms:
    description: The folder.
    required: true
  patterns:
    description: What of it is packed, as globs.
    type: list
    elements: str
    required: true
author: The kmodlab authors
"""

EXAMPLES = """
- name: See how large it is
  ansible.builtin.debug:
    msg: "{{ lookup('kmodlab.lab.packed', 'examples', patterns=['*.c']) | length }}"
"""

RETURN = """
_raw:
  description: The archive in base64.
  type: list
  elements: str
"""

import base64
import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """Ansible finds it by this name."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """One archive for each folder. AnsibleError where a folder has none of the files."""
        self.set_options(var_options=variables, direct=kwargs)
        return [_packed(Path(term).expanduser(), self.get_option("patterns")) for term in terms]


def _packed(folder: Path, patterns: list[str]) -> str:
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    if not files:
        raise AnsibleError(f"{folder} holds none of {', '.join(patterns)}: nothing to hand out")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in files:
            content = path.read_bytes()
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return base64.b64encode(gzip.compress(buffer.getvalue(), mtime=0)).decode()
