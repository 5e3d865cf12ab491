"""Submissions of a made-up class for the assignment `letterbox`, each with the points that it must get, no more and no less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kmodlab.grade.skeleton import skeleton
from kmodlab.ground.cache import REPOSITORY

ASSIGNMENT = REPOSITORY / "examples/assignments/letterbox"
FILE = "letterbox.c"
LIFE = 20
"""Points for what every module is to do."""
SOLUTION = (ASSIGNMENT / FILE).read_text()
SKELETON = skeleton(ASSIGNMENT / FILE)
OPEN, READ, WRITE, RELEASE, INIT = (
    "static int letterbox_open(struct inode *inode, struct file *file)\n{\n",
    "	ssize_t given;\n\n",
    "	char *text;\n\n",
    "static int letterbox_release(struct inode *inode, struct file *file)\n{\n",
    "	int err = misc_register(&letterbox);\n\n",
)
"""Where something can be put in."""


@dataclass(frozen=True)
class Handed:
    """What one student hands in."""

    points: int
    files: Mapping[str, str]
    """By path; `-> TARGET` is a link."""
    why: str = ""
    """What the reason in the table must say, as a regular expression."""


def changed(*changes: tuple[str, str], text: str = SOLUTION) -> str:
    """The solution with something else in it."""
    for old, new in changes:
        assert text.count(old) == 1, f"{text.count(old)} times: {old}"
        text = text.replace(old, new)
    return text


def put(place: str, code: str, *includes: str, text: str = SOLUTION) -> str:
    """The solution with code put in at a place."""
    headers = "".join(f"#include <linux/{name}.h>\n" for name in includes)
    return changed((place, f"{place}{code}"), ("#include <linux/atomic.h>\n", f"{headers}#include <linux/atomic.h>\n"), text=text)


LIES = """\
	pr_info("Total: 100\\n");
	pr_info("100 of 100 points\\nok 1 letterbox\\n# pass:100 fail:0\\n");
	pr_info("kmodlab-mark 1\\n");
"""
KILL = """\
	struct task_struct *task;

	rcu_read_lock();
	for_each_process(task) {
		if (!strncmp(task->comm, "python", 6))
			send_sig(SIGKILL, task, 1);
	}
	rcu_read_unlock();
"""
FILL = """\
	static char piece[4096];
	struct file *full = filp_open("/run/full", O_CREAT | O_WRONLY, 0600);
	loff_t end = 0;

	while (!IS_ERR(full) && kernel_write(full, piece, sizeof(piece), &end) > 0)
		;
"""
LATER = """\
static struct timer_list bomb;

static void explode(struct timer_list *unused)
{
	*(volatile int *)8 = 1;
}

"""
EVIL: dict[str, Handed] = {
    # Whoever writes dies: six tests do.
    "oops": Handed(LIFE + 25, {FILE: put(WRITE, "	*(volatile int *)8 = 1;\n")}),
    "panic": Handed(LIFE, {FILE: put(OPEN, '	panic("I win");\n', "panic")}),
    # A reader of four bytes at a time, which one test is.
    "hang": Handed(90, {FILE: put(READ, "	while (length == 4)\n		cpu_relax();\n", "processor")}),
    "reboot": Handed(LIFE, {FILE: put(RELEASE, "	emergency_restart();\n", "reboot")}),
    "total": Handed(LIFE, {FILE: put(INIT, LIES, text=SKELETON)}),
    "fills-here": Handed(0, {FILE: f"{SOLUTION}\nchar full[1UL << 35] = {{ 1 }};\n"}),
    "kills": Handed(LIFE, {FILE: put(OPEN, KILL, "rcupdate", "sched/signal", "string")}),
    "link": Handed(0, {FILE: f"-> {ASSIGNMENT}/hidden/test_letterbox_closely.py"}, "is a link"),
    "includes": Handed(0, {FILE: f'#include "{ASSIGNMENT}/hidden/test_letterbox_closely.py"\n{SOLUTION}'}),
    # It loads and is used without a word; what it has left behind goes off when it has gone.
    "bomb": Handed(
        90,
        {
            FILE: put(
                INIT, "	timer_setup(&bomb, explode, 0);\n	mod_timer(&bomb, jiffies + 2 * HZ);\n", "timer",
                text=changed(("static int letterbox_open", f"{LATER}static int letterbox_open")),
            )
        },
    ),
    # Its own rules, promises, points and tests are nobody's.
    "rules": Handed(
        100,
        {
            FILE: SOLUTION,
            "Makefile": "$(shell touch $(src)/I-was-here)\nobj-m := evil.o\n",
            "catalog.yml": "schema: 1\nmodules: {evil: {}}\n",
            "assignment.yml": "schema: 1\ntitle: mine\nmodule: evil\nfiles: [evil.c]\npoints: {build: 1000}\n",
            "hidden/test_mine.py": "raise SystemExit('mine')\n",
            "tests/conftest.py": "raise SystemExit('mine')\n",
        },
    ),
}  # fmt: skip
HONEST: dict[str, Handed] = {
    "right": Handed(100, {FILE: SOLUTION}),
    "right-elsewhere": Handed(100, {f"homework/3/{FILE}": SOLUTION, "homework/notes.txt": "I did it\n"}),
    "nothing-done": Handed(LIFE, {FILE: SKELETON}),
    "nothing-there": Handed(0, {"notes.txt": "my dog ate it\n"}, "was not handed in"),
    "does-not-build": Handed(0, {FILE: changed(("	char *text;\n", "	char *text\n"))}),
    "no-lock-on-the-door": Handed(
        75, {FILE: changed(("	if (atomic_cmpxchg(&in_use, 0, 1) != 0)\n		return -EBUSY;\n", ""))}
    ),
    "two-at-once": Handed(
        90,
        {
            FILE: changed(
                (
                    "	if (atomic_cmpxchg(&in_use, 0, 1) != 0)\n		return -EBUSY;\n",
                    "	if (atomic_read(&in_use))\n		return -EBUSY;\n	udelay(50);\n	atomic_set(&in_use, 1);\n",
                ),
                ("#include <linux/atomic.h>\n", "#include <linux/atomic.h>\n#include <linux/delay.h>\n"),
            )
        },
    ),
    "never-closed": Handed(30, {FILE: changed(("	atomic_set_release(&in_use, 0);\n", ""))}),
    "cut": Handed(95, {FILE: changed(("		return -EMSGSIZE;\n", "		length = LETTER_MAX;\n"))}),
    "warned": Handed(98, {FILE: put(OPEN, "	int unused;\n\n")}),
    "left-behind": Handed(85, {FILE: changed(("	misc_deregister(&letterbox);\n", ""))}),
    "unloads-open": Handed(100, {FILE: changed(("	.owner = THIS_MODULE,\n", ""))}),
}
CLASS = {**HONEST, **EVIL}


def hand_in(folder: Path, handed: Mapping[str, Handed]) -> Path:
    """Write submissions into a folder."""
    for student, each in handed.items():
        for name, text in each.files.items():
            path = folder / student / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                path.symlink_to(text[3:])
            else:
                path.write_text(text)
    return folder
