#!/usr/bin/python
"""A thin adapter: stages of a kmodlab run for one kernel, as a task."""

from __future__ import annotations

DOCUMENTATION = """
module: stage
short_description: Run stages of a kmodlab run for one kernel
description:
  - Makes the images, builds, signs, boots, deploys or verifies what a run has planned for a kernel.
  - What became of each cell is recorded in the run folder.
  - Runs on the controller, with the Python that has the C(kmodlab) package.
options:
  name:
    description: The stage, or several in their order; each further one saves the second that a task takes to start.
    type: list
    elements: str
    required: true
    choices: [images, build, sign, boot, deploy, verify, stop]
  run:
    description: The run folder, which C(kmodlab matrix) made.
    type: path
    required: true
  kernel:
    description: A kernel's id, as in inventories/matrix.
    type: str
    required: true
requirements:
  - the Python package kmodlab of the same version, for the Python that runs the module
author: The kmodlab authors
"""

EXAMPLES = """
- name: Build every module of the run for this kernel
  kmodlab.lab.stage:
    name: build
    run: reports/latest
    kernel: 6.12-x86_64
"""

RETURN = ""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {
                "type": "list",
                "elements": "str",
                "required": True,
                "choices": ["images", "build", "sign", "boot", "deploy", "verify", "stop"],
            },
            "run": {"type": "path", "required": True},
            "kernel": {"type": "str", "required": True},
        }
    )
    try:
        from kmodlab.ground.errors import LabError
        from kmodlab.run.lab import Lab
        from kmodlab.stages.work import run_stage
    except ImportError as problem:
        module.fail_json(msg=missing_required_lib(problem.name or "kmodlab"))

    try:
        lab = Lab.open(Path(module.params["run"]))
        changes = [run_stage(lab, module.params["kernel"], name) for name in module.params["name"]]
    except (LabError, OSError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=any(changes))


if __name__ == "__main__":
    main()
