#!/usr/bin/python
"""A thin adapter: the virtual machine of one kernel of a kmodlab run, as a task."""

from __future__ import annotations

DOCUMENTATION = """
module: vm
short_description: Start or stop the virtual machine of a kernel of a kmodlab run
description:
  - Starts QEMU with KVM where it truly runs, else emulating, from a snapshot right after boot where there is one.
  - SSH is forwarded from a free port on loopback; the options to reach it are in C(ssh_config).
options:
  state:
    description: C(started) does nothing to a machine that runs, C(stopped) nothing to one that does not.
    type: str
    default: started
    choices: [started, stopped]
  run:
    description: The run folder, which C(kmodlab matrix) made.
    type: path
    required: true
  kernel:
    description: A kernel's id, as in inventories/matrix.
    type: str
    required: true
author: The kmodlab authors
"""

EXAMPLES = """
- name: Start the machine
  kmodlab.lab.vm:
    run: reports/latest
    kernel: 6.12-x86_64
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

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "default": "started", "choices": ["started", "stopped"]},
            "run": {"type": "path", "required": True},
            "kernel": {"type": "str", "required": True},
        }
    )
    from kmodlab.errors import LabError
    from kmodlab.lab import Lab
    from kmodlab.stages import start_vm

    try:
        lab = Lab.open(Path(module.params["run"]))
        vm = lab.vm(module.params["kernel"])
        was = vm.state
        if module.params["state"] == "stopped":
            vm.stop()
            module.exit_json(changed=was is not None)
        state = start_vm(lab, module.params["kernel"])
    except LabError as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=was is None, port=state.port, ssh_config=str(vm.ssh_config))


if __name__ == "__main__":
    main()
