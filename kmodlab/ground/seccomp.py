"""The system calls that nothing in a sandbox needs, as a filter (seccomp-bpf) that bubblewrap loads; libseccomp compiles it.

A process without privileges could use them only to reach further into this machine's kernel: its keyrings, namespaces, tracing
and other programs' memory, and sockets that a network namespace does not hold back (a VM's vsock).
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

from kmodlab.ground.errors import LabError
from kmodlab.ground.packages import install

LIBRARY = "libseccomp.so.2"
FORBIDDEN = (
    *("add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd", "syslog", "acct", "quotactl", "reboot"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "process_vm_readv", "process_vm_writev", "kcmp", "modify_ldt"),
    *("mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick", "mount_setattr", "pivot_root"),
    *("setns", "unshare", "open_by_handle_at", "name_to_handle_at", "swapon", "swapoff", "iopl", "ioperm"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
)
FAMILIES = (1, 2, 10, 16)
"""Of sockets, as the kernel numbers them: AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK; none of them leads out."""
LAST_FAMILY = 46
"""The highest number that a kernel knows today (AF_MCTP is 45); a comparison covers those to come."""
ALLOW = 0x7FFF0000
"""SCMP_ACT_ALLOW of seccomp.h."""
REFUSE = 0x00050000
"""SCMP_ACT_ERRNO of seccomp.h, to be joined with the error's number."""
EQUAL, GREATER_OR_EQUAL = 4, 5
"""SCMP_CMP_EQ and SCMP_CMP_GE of seccomp.h."""


class _Comparison(ctypes.Structure):
    """scmp_arg_cmp of seccomp.h."""

    _fields_ = (("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@cache
def program() -> bytes:
    """The compiled filter. LabError where libseccomp is not there."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as problem:
        raise LabError(f"{LIBRARY} is missing", hint=install(["libseccomp2"])) from problem
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    context = ctypes.c_void_p(library.seccomp_init(ALLOW))

    def refuse(name: str, number: int, *comparisons: _Comparison) -> None:
        call = library.seccomp_syscall_resolve_name(name.encode())
        if call >= 0:  # negative: this architecture, or this libseccomp, knows no such call
            array = (_Comparison * len(comparisons))(*comparisons)
            library.seccomp_rule_add_array(context, ctypes.c_uint32(REFUSE | number), call, len(comparisons), array)

    for name in FORBIDDEN:
        refuse(name, errno.EPERM)
    for family in (each for each in range(LAST_FAMILY) if each not in FAMILIES):
        refuse("socket", errno.EAFNOSUPPORT, _Comparison(0, EQUAL, family, 0))
    refuse("socket", errno.EAFNOSUPPORT, _Comparison(0, GREATER_OR_EQUAL, LAST_FAMILY, 0))
    file = os.memfd_create("seccomp")
    try:
        if library.seccomp_export_bpf(context, file):
            raise LabError(f"{LIBRARY} cannot compile the sandbox's filter", hint="report this as a bug of kmodlab")
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)
        library.seccomp_release(context)
