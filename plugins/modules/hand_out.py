#!/usr/bin/python
"""Files that a teacher hands out, in a student's home. Runs on the seat, as that student."""

from __future__ import annotations

DOCUMENTATION = """
module: hand_out
short_description: Give a student files to work on, and renew what they have not changed
description:
  - Runs as the student, so that a link, a pipe or a folder of theirs leads nowhere that they may not go themselves.
    It refuses to run as anybody else.
  - Remembers in C(.handed-out.json), beside the files, what it handed out. A file that is still as it was handed out
    is renewed, one that the student has changed is kept, one that is missing is brought.
  - A student whose folder cannot be written costs a warning and their own files, not the seat.
options:
  user:
    description: The student; the task must become this user.
    type: str
    required: true
  name:
    description: The folder's name in their home.
    type: str
    required: true
  archive:
    description: The files, as the lookup P(kmodlab.lab.packed#lookup) packs them. Needed to hand out.
    type: str
  overwrite:
    description: Whether to undo what the student has changed.
    type: bool
    default: false
  state:
    description: C(absent) takes back what is still as it was handed out, and leaves the student's work.
    type: str
    default: present
    choices: [present, absent]
author: The kmodlab authors
"""

EXAMPLES = """
- name: Hand the examples out
  kmodlab.lab.hand_out:
    user: alice
    name: kmodlab-examples
    archive: "{{ lookup('kmodlab.lab.packed', 'examples', patterns=['*.c', Makefile]) }}"
  become: true
  become_user: alice
"""

RETURN = """
written:
  description: The files that were brought or renewed.
  type: list
  elements: str
  returned: success
kept:
  description: The files that the student has changed.
  type: list
  elements: str
  returned: success
removed:
  description: The files that were taken back.
  type: list
  elements: str
  returned: success
refused:
  description: Why nothing could be handed out; empty where it could.
  type: str
  returned: success
"""

import base64
import contextlib
import hashlib
import io
import json
import os
import pwd
import stat
import tarfile
from pathlib import PurePosixPath
from typing import Any

from ansible.module_utils.basic import AnsibleModule

RECORD = ".handed-out.json"
LARGEST = 16 << 20
"""Bytes that are read of a file of the student's; a larger one is none that was handed out."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class RefusedError(Exception):
    """Something of the student's is in the way."""


class Folder:
    """The student's folder, which may not be there yet. Each step down is opened by itself, so that no link is followed."""

    def __init__(self, home: str, name: str) -> None:
        self.top = f"{home}/{name}"
        self._home, self._name = home, name

    def _open(self, parent: PurePosixPath, *, make: bool) -> int:
        """A descriptor of a folder below the top; FileNotFoundError where there is none, RefusedError where something else is."""
        here = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY)
        path = self._home
        for part in (*PurePosixPath(self._name).parts, *parent.parts):
            path = f"{path}/{part}"
            try:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=here)
                below = os.open(part, FOLDER, dir_fd=here)
            except NotADirectoryError as problem:
                raise RefusedError(f"{path} is a link or a file, not a folder: the student has to move it away") from problem
            finally:
                os.close(here)
            here = below
        return here

    def read(self, name: str) -> bytes | None:
        """What a file holds; None where it is missing. RefusedError: it is no regular file, or too large."""
        path = PurePosixPath(name)
        try:
            parent = self._open(path.parent, make=False)
        except FileNotFoundError:
            return None
        try:
            return _content(path.name, parent)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise RefusedError(f"{self.top}/{name}: {problem.strerror}") from problem
        finally:
            os.close(parent)

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place at once: it is the old one or the new one."""
        path, aside = PurePosixPath(name), f".{PurePosixPath(name).name}.{os.getpid()}"
        parent = self._open(path.parent, make=True)
        try:
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                os.replace(aside, path.name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(aside, dir_fd=parent)
                raise
        finally:
            os.close(parent)

    def remove(self, name: str) -> None:
        parent = self._open(PurePosixPath(name).parent, make=False)
        try:
            os.unlink(PurePosixPath(name).name, dir_fd=parent)
        finally:
            os.close(parent)

    def tidy(self, folders: set[PurePosixPath]) -> None:
        """Remove folders that are empty now, the deepest first, and then the top."""
        for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
            whole = PurePosixPath(self._name) / folder
            parent = Folder(self._home, str(whole.parent))._open(PurePosixPath(), make=False)
            with contextlib.suppress(OSError):
                os.rmdir(whole.name, dir_fd=parent)
            os.close(parent)


def _content(name: str, parent: int) -> bytes:
    with os.fdopen(os.open(name, FILE, dir_fd=parent), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise RefusedError(f"{name} is no regular file, or one of more than {LARGEST >> 20} MiB")
        return file.read(LARGEST)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "archive": {"type": "str"},
            "overwrite": {"type": "bool", "default": False},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        },
        required_if=[("state", "present", ["archive"])],
        supports_check_mode=True,
    )
    user, name = module.params["user"], module.params["name"]
    me = pwd.getpwuid(os.geteuid())
    if me.pw_name != user:
        module.fail_json(msg=f"this ran as {me.pw_name}, not as {user}: say become_user: {user}")
    if not _inside(name):
        module.fail_json(msg=f"{name} is no name of a folder in a home")
    answer: dict[str, Any] = {"written": [], "kept": [], "removed": [], "refused": ""}
    folder = Folder(me.pw_dir, name)
    try:
        record = _record(folder)
        if module.params["state"] == "absent":
            _take_back(folder, record, answer, dry=module.check_mode)
        else:
            _hand_out(folder, record, answer, _unpacked(module.params["archive"]), module.params["overwrite"], module.check_mode)
    except RefusedError as problem:
        answer["refused"] = str(problem)
    except OSError as problem:
        answer["refused"] = f"{folder.top}: {problem.strerror}"
    except ValueError as problem:
        module.fail_json(msg=str(problem))
    if answer["refused"]:
        module.warn(f"{user} got nothing, or not all: {answer['refused']}")
    module.exit_json(changed=bool(answer["written"] or answer["removed"]), **answer)


def _hand_out(
    folder: Folder, record: dict[str, str], answer: dict[str, Any], files: dict[str, bytes], overwrite: bool, dry: bool
) -> None:
    known = dict(record)
    for name, wanted in files.items():
        try:
            found = folder.read(name)
        except RefusedError:
            answer["kept"].append(name)  # a link or a pipe in a file's place
            continue
        if found is not None and found != wanted and known.get(name) != _digest(found) and not overwrite:
            answer["kept"].append(name)
            continue
        if found != wanted:
            if not dry:
                folder.write(name, wanted)
            answer["written"].append(name)
        known[name] = _digest(wanted)
    if known != record and not dry:
        folder.write(RECORD, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())


def _take_back(folder: Folder, record: dict[str, str], answer: dict[str, Any], *, dry: bool) -> None:
    for name, digest in record.items():
        try:
            found = folder.read(name)
        except RefusedError:
            found = b""
        if found is None:
            continue
        if _digest(found) != digest:
            answer["kept"].append(name)
            continue
        if not dry:
            folder.remove(name)
        answer["removed"].append(name)
    if folder.read(RECORD) is None:
        return
    if not dry:
        folder.remove(RECORD)
        folder.tidy({parent for name in record for parent in PurePosixPath(name).parents} | {PurePosixPath()})
    answer["removed"].append(RECORD)


def _record(folder: Folder) -> dict[str, str]:
    """What was handed out, by name. A student may have written anything there, to nobody's harm but their own."""
    try:
        read = json.loads(folder.read(RECORD) or b"{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(read, dict):
        return {}
    return {name: digest for name, digest in read.items() if isinstance(digest, str) and _inside(name)}


def _unpacked(archive: str) -> dict[str, bytes]:
    """The archive's files by name. ValueError for one that is none, or that leads out of the folder."""
    try:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive, validate=True)), mode="r:gz") as tar:
            members = [(each.name, tar.extractfile(each)) for each in tar if each.isfile()]
            files = {name: file.read() for name, file in members if file is not None}
    except (tarfile.TarError, OSError, EOFError) as problem:
        raise ValueError(f"the archive cannot be read: {problem}") from problem
    outside = [name for name in files if not _inside(name)]
    if outside:
        raise ValueError(f"the archive leads out of the folder: {outside[0]}")
    return files


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    main()
