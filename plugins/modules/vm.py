#!/usr/bin/python
"""A thin adapter: a machine of the lab, as a task."""

from __future__ import annotations

DOCUMENTATION = """
module: vm
short_description: Start or stop a machine of the lab
description:
  - Where the run's kernel is a board's, sees to it that the board answers, or leaves it alone.
  - Starts QEMU with KVM where it truly runs, else emulating, from a snapshot right after boot where there is one.
  - SSH is forwarded from a free port on loopback; the options to reach it are in C(ssh_config).
  - It is the machine of a kernel of a run, or an ordinary host whose state is in a folder of its own.
options:
  state:
    description: C(started) does nothing to a machine that runs, C(stopped) nothing to one that does not.
    type: str
    default: started
    choices: [started, stopped]
  kernel:
    description: A kernel's id, as in inventories/matrix.
    type: str
    required: true
  run:
    description: The run folder, which C(kmodlab matrix) made.
    type: path
  folder:
    description: Where an ordinary host keeps its sockets and its console. Keep it short; a socket's path has 107 bytes.
    type: path
author: The kmodlab authors
"""

EXAMPLES = """
- name: Start the machine of a run
  kmodlab.lab.vm:
    run: reports/latest
    kernel: 6.12-x86_64

- name: Start an ordinary host
  kmodlab.lab.vm:
    folder: /tmp/host
    kernel: 6.12-x86_64
"""

RETURN = """
port:
  description: Where SSH listens on 127.0.0.1.
  type: int
  returned: when an ordinary host was started
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
            "kernel": {"type": "str", "required": True},
            "run": {"type": "path"},
            "folder": {"type": "path"},
        },
        required_one_of=[("run", "folder")],
        mutually_exclusive=[("run", "folder")],
        supports_check_mode=True,
    )
    from kmodlab.errors import LabError
    from kmodlab.lab import Lab
    from kmodlab.machine import machine
    from kmodlab.stages import run_stage
    from kmodlab.vm import state_in, stop_in

    kernel, run, folder = (module.params[name] for name in ("kernel", "run", "folder"))
    if folder and module.params["state"] == "stopped":
        place = Path(folder)
        module.exit_json(changed=state_in(place) is not None if module.check_mode else stop_in(place))
    try:
        lab = Lab.open(Path(run)) if run else None
        vm = lab.target(kernel) if lab else machine(kernel, Path(folder))
        was = vm.state is not None
        want = module.params["state"] == "started"
        if module.check_mode or not want:
            if not module.check_mode:
                vm.stop()
            module.exit_json(changed=was != want)
        if lab:
            run_stage(lab, kernel, "boot")
            # What a board's SSH port is, its own configuration says.
            module.exit_json(changed=not was, ssh_config=str(vm.ssh_config))
        state = vm.start()
    except (LabError, OSError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=not was, port=state.port, ssh_config=str(vm.ssh_config))


if __name__ == "__main__":
    main()
