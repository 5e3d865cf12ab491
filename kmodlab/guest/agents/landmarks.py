"""Runs on a target once, when it has booted: where the kernel keeps what the agent wants to see of its memory.

To read all of /proc/kallsyms takes an emulated kernel seconds, so the few lines that matter are kept in a file, NAME ADDRESS SIZE
in hexadecimal; the size is the way to the next symbol. A chain of notifiers has the name of its head. What is called `data` are
the parts of the kernel's own writable memory in which a pointer to a module's may lie.
"""

import os
import re

FILE = "/run/kmodlab-symbols"
WANTED = re.compile(r"_stext|_etext|_end|timer_bases|__per_cpu_offset|delayed_work_timer_fn|cdev_map|init_net|genl_fam_idr")
CHAIN = re.compile(r"\w+(_chain|_chain_head|_notifier_list|_notify_list|_notifiers?|_notifier_head)")
DATA = (("_sdata", "_edata"), ("__bss_start", "__bss_stop"))
LARGE = 16 << 10
"""Bytes of one variable: buffers, page tables and tables of numbers, of which no module's hook is one."""
PASSING = {"init_stack", "init_thread_union", "cur_orc_table", "cur_orc_ip_table"}
"""What holds pointers to where some code once was: stacks, and what the kernel notes for itself when it loads a module."""

symbols: "list[tuple[int, str, str]]" = []
with open("/proc/kallsyms") as lines:  # noqa: PTH123 - to import pathlib takes as long as to read it
    for line in lines:
        words = line.split()
        if len(words) == 3:  # else it is a module's
            symbols.append((int(words[0], 16), words[2], words[1]))
symbols.sort()
addresses = {name: begin for begin, name, _ in symbols}
following = (begin for begin, _, _ in symbols[1:])
ends = {begin: next(following, begin) for begin, _, _ in symbols}  # of several at one address, where the last ends
with open(f"{FILE}.part", "w") as file:  # noqa: PTH123
    for begin, name, kind in symbols:
        if WANTED.fullmatch(name) or (kind in "bBdD" and CHAIN.fullmatch(name)):
            file.write(f"{name} {begin:x} {ends.get(begin, begin) - begin:x}\n")
    for first, last in DATA:
        begin, end = addresses.get(first, 0), addresses.get(last, 0)
        for start, name, _ in symbols:
            if begin <= start < end and (ends[start] - start >= LARGE or name in PASSING):
                if begin < start:
                    file.write(f"data {begin:x} {start - begin:x}\n")
                begin = max(begin, min(ends[start], end))
        if begin < end:
            file.write(f"data {begin:x} {end - begin:x}\n")
os.replace(f"{FILE}.part", FILE)  # noqa: PTH105
