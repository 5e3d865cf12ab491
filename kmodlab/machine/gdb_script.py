"""Run by a person's gdb, with `KNOWN` set (kmodlab.machine.debugger): each module's symbols are there when it is loaded.

The kernel has put a module into memory when it comes to do_init_module(module), and its copy of the file's table of symbols
says where every section is: the value of a symbol there is an address, in the file a distance from the section's beginning.
"""
# mypy: ignore-errors

from __future__ import annotations

import gdb

POINTER = "(long)&((struct module *)0)->{}"
FIELDS = {"name": POINTER.format("name"), "kallsyms": POINTER.format("kallsyms")}
TABLE = "(long)&((struct mod_kallsyms *)0)->{}"
FIELDS |= {"symtab": TABLE.format("symtab"), "number": TABLE.format("num_symtab")}
NAME_MOST = 64
LOADED: dict[str, str] = {}


def read(address: int, size: int) -> bytes:
    return bytes(gdb.selected_inferior().read_memory(address, size))


class Coming(gdb.Breakpoint):
    """Where a module is in memory, and nothing of it has run."""

    def __init__(self, known: dict) -> None:
        self.known = known
        super().__init__(f"*{known['address']:#x}", type=gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self.silent = True

    def stop(self) -> bool:
        module = int(gdb.parse_and_eval(f"(unsigned long){self.known['argument']}"))
        name = read(module + self.known["fields"]["name"], NAME_MOST).split(b"\0")[0].decode(errors="replace")
        if name in self.known["modules"]:
            gdb.execute(f"set substitute-path {self.known['work']} {self.known['modules'][name]['sources']}")
            add(name, self.known["modules"][name], module, self.known["fields"], self.known["pointer"])
        return False


def add(name: str, wanted: dict, module: int, fields: dict, pointer: int) -> None:
    """Tell gdb a module's symbols at the addresses that it has now."""

    def number(address: int, size: int) -> int:
        return int.from_bytes(read(address, size), "little")

    table = number(module + fields["kallsyms"], pointer)
    symbols = number(table + fields["symtab"], pointer)
    size, value = (24, 8) if pointer == 8 else (16, 4)
    places = {
        section: number(symbols + size * index + value, pointer) - offset
        for section, (index, offset) in wanted["anchors"].items()
    }
    if name in LOADED:
        gdb.execute(f"remove-symbol-file {LOADED[name]}", to_string=True)
    words = " ".join(f"-s {section} {place:#x}" for section, place in places.items())
    command = f'add-symbol-file "{wanted["file"]}" {words}'
    print(command)
    gdb.execute(command, to_string=True)
    LOADED[name] = f'"{wanted["file"]}"'


def begin(known: dict) -> None:
    gdb.execute("set confirm off")
    gdb.execute("set pagination off")
    gdb.execute("set breakpoint pending on")
    first = next(iter(known["modules"].values()))
    gdb.execute(f'file "{first["file"]}"', to_string=True)
    known["fields"] = {name: int(gdb.parse_and_eval(text)) for name, text in FIELDS.items()}
    known["pointer"] = gdb.lookup_type("void").pointer().sizeof
    gdb.execute("file", to_string=True)
    gdb.execute(f"target remote {known['stub']}", to_string=True)
    Coming(known)
    for wanted in known["modules"].values():
        if wanted["stop"]:
            gdb.execute(f"break {wanted['stop']}", to_string=True)
    print("the machine goes on; load a module there, or press Ctrl-C here")
    gdb.execute("continue")


begin(KNOWN)  # noqa: F821 - set before this file is read
