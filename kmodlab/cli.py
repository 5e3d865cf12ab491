"""The command `kmodlab`: what `make` calls, and what a person may call directly. Each command is a file in `commands/`."""

from __future__ import annotations

import click

from kmodlab import __version__
from kmodlab.commands.assignment import assignment
from kmodlab.commands.bench import show_bench
from kmodlab.commands.cache import cache
from kmodlab.commands.completion import show_completion
from kmodlab.commands.forget import forget_caches
from kmodlab.commands.grade import grade_submissions
from kmodlab.commands.group import Commands
from kmodlab.commands.init import write_first_files
from kmodlab.commands.kernels import show_kernels
from kmodlab.commands.lint_c import lint_c_sources
from kmodlab.commands.manual import show_manual
from kmodlab.commands.matrix import run_matrix
from kmodlab.commands.merge import merge_shards
from kmodlab.commands.nightly import run_nightly
from kmodlab.commands.report import show_report
from kmodlab.commands.repro import repeat_cell
from kmodlab.commands.schema import show_schema
from kmodlab.commands.shell import open_shell
from kmodlab.commands.stop import stop_vms
from kmodlab.commands.summary import show_summary
from kmodlab.sign.keys import hide_passphrase


@click.group(cls=Commands)
@click.version_option(__version__)
def main() -> None:
    """Prove that Linux kernel modules build, sign, load, work and unload on every kernel you care about."""
    hide_passphrase()


for _command in (
    run_matrix,
    merge_shards,
    repeat_cell,
    open_shell,
    write_first_files,
    run_nightly,
    grade_submissions,
    assignment,
    show_summary,
    show_kernels,
    show_report,
    show_bench,
    lint_c_sources,
    stop_vms,
    cache,
    forget_caches,
    show_schema,
    show_completion,
    show_manual,
):
    main.add_command(_command)

if __name__ == "__main__":
    main()
