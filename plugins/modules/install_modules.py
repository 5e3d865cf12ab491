#!/usr/bin/python
"""Module files of a machine, put where modprobe finds them, compressed as its kernel's own are. Runs on the machine."""

from __future__ import annotations

DOCUMENTATION = """
module: install_modules
short_description: Put kernel modules into a folder, compressed as wanted
description:
  - Compares what the files hold, not how they are packed, so that a second run changes nothing whatever packs there.
  - A file of the same module that is packed in another way is removed, because modprobe would have two to choose from.
  - A signature is part of what a module holds. Sign first.
options:
  files:
    description: The modules, C(NAME.ko), not compressed, on the target.
    type: list
    elements: path
    required: true
  dest:
    description: The folder, which exists.
    type: path
    required: true
  compression:
    description: What they are packed with; C(zst) needs the program C(zstd).
    type: str
    default: none
    choices: [none, gz, xz, zst]
author: The kmodlab authors
"""

EXAMPLES = """
- name: Install what was built
  kmodlab.lab.install_modules:
    files: [/usr/local/src/hello/hello-1.ko]
    dest: /lib/modules/6.12.107+deb13-amd64/updates/kmodlab
    compression: xz
"""

RETURN = """
installed:
  description: The files that were written now.
  type: list
  elements: str
  returned: success
"""

import gzip
import lzma
import os
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

SUFFIXES = {"none": ".ko", "gz": ".ko.gz", "xz": ".ko.xz", "zst": ".ko.zst"}
XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]
"""Like the kernel's own build: a kernel that unpacks by itself has no larger dictionary, and knows CRC32 only."""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "compression": {"type": "str", "default": "none", "choices": list(SUFFIXES)},
        },
        supports_check_mode=True,
    )
    folder, compression = Path(module.params["dest"]), module.params["compression"]
    try:
        wanted = {Path(each): _content(Path(each)) for each in module.params["files"]}
        fresh = {_target(folder, each, compression): content for each, content in wanted.items()}
        changed = [path for path, content in fresh.items() if not _holds(path, content)]
        twins = [path for each in wanted for path in _twins(folder, each, compression)]
        if not module.check_mode:
            for path in changed:
                _write(module, path, _packed(fresh[path], compression))
            for path in twins:
                path.unlink()
    except (OSError, ValueError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=bool(changed or twins), installed=[str(path) for path in changed])


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(b"\x7fELF"):
        raise ValueError(f"{path} is no module, or one that is compressed already: give NAME.ko as it was built and signed")
    return content


def _target(folder: Path, module: Path, compression: str) -> Path:
    return folder / f"{module.stem}{SUFFIXES[compression]}"


def _twins(folder: Path, module: Path, compression: str) -> list[Path]:
    others = [_target(folder, module, each) for each in SUFFIXES if each != compression]
    return [path for path in others if path.exists()]


def _holds(path: Path, content: bytes) -> bool:
    try:
        return _unpacked(path) == content
    except (OSError, EOFError, lzma.LZMAError, zlib.error):
        return False


def _unpacked(path: Path) -> bytes:
    packed = path.read_bytes()
    if path.suffix == ".zst":
        return _zstd(packed, "-d")
    unpack: dict[str, Callable[[bytes], bytes]] = {".ko": bytes, ".gz": gzip.decompress, ".xz": lzma.decompress}
    return unpack[path.suffix](packed)


def _packed(content: bytes, compression: str) -> bytes:
    if compression == "zst":
        return _zstd(content)
    if compression == "xz":
        return lzma.compress(content, check=lzma.CHECK_CRC32, filters=XZ_FILTERS)
    return gzip.compress(content, mtime=0) if compression == "gz" else content


def _zstd(content: bytes, *options: str) -> bytes:
    try:
        answer = subprocess.run(["zstd", "-q", "-c", *options], input=content, capture_output=True, check=False)
    except FileNotFoundError as problem:
        raise ValueError(
            "zstd is missing on this machine, whose modules are packed with it: install the package zstd"
        ) from problem
    if answer.returncode:
        raise OSError(answer.stderr.decode(errors="replace").strip())
    return answer.stdout


def _write(module: Any, path: Path, packed: bytes) -> None:
    handle, aside = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as file:
        file.write(packed)
    Path(aside).chmod(0o644)
    module.atomic_move(aside, str(path))


if __name__ == "__main__":
    main()
