#!/usr/bin/python
"""A thin adapter: an ordinary host as a VM, as a task."""

from __future__ import annotations

DOCUMENTATION = """
module: vm
short_description: Start or stop an ordinary host as a VM
description:
  - The host is Debian with a kernel of the lab's; its state is in a folder of its own.
  - The machines of a run are not its business, but M(kmodlab.lab.stage)'s.
  - Starts QEMU with KVM where it truly runs, else emulating, from a snapshot right after boot where there is one.
  - SSH is forwarded from a free port on loopback; the options to reach it are in C(ssh_config).
options:
  state:
    description: C(started) does nothing to a machine that runs, C(stopped) nothing to one that does not.
    type: str
    default: started
    choices: [started, stopped]
  kernel:
    description: A kernel's id, as in inventories/matrix. Needed to start it.
    type: str
  folder:
    description: Where the host keeps its sockets and its console. Keep it short; a socket's path has 107 bytes.
    type: path
    required: true
requirements:
  - the Python package kmodlab of the same version, for the Python that runs the module
author: The kmodlab authors
"""

EXAMPLES = """
- name: Start a host
  kmodlab.lab.vm:
    folder: /tmp/host
    kernel: 6.12-x86_64

- name: Stop it
  kmodlab.lab.vm:
    folder: /tmp/host
    state: stopped
"""

RETURN = """
port:
  description: Where SSH listens on 127.0.0.1.
  type: int
  returned: when started
ssh_config:
  description: A file for C(ssh -F); the host in it is the kernel's id.
  type: str
  returned: when started
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "default": "started", "choices": ["started", "stopped"]},
            "kernel": {"type": "str"},
            "folder": {"type": "path", "required": True},
        },
        required_if=[("state", "started", ["kernel"])],
        supports_check_mode=True,
    )
    try:
        from kmodlab.ground.errors import LabError
        from kmodlab.machine.debian_host import machine
        from kmodlab.machine.runtime import state_in, stop_in
    except ImportError as problem:
        module.fail_json(msg=missing_required_lib(problem.name or "kmodlab"))

    folder, wanted = Path(module.params["folder"]), module.params["state"] == "started"
    changed = (state_in(folder) is not None) != wanted
    if module.check_mode:
        module.exit_json(changed=changed)
    try:
        if not wanted:
            module.exit_json(changed=stop_in(folder))
        vm = machine(module.params["kernel"], folder)
        state = vm.start()
    except (LabError, OSError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=changed, port=state.port, ssh_config=str(vm.ssh_config))


if __name__ == "__main__":
    main()
