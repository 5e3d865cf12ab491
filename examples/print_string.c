// SPDX-License-Identifier: GPL-2.0
/*
 * print_string.c - Say something on the terminal of whoever runs insmod or rmmod.
 *
 * The log is for everybody. This is for the one who sits there, be it at a
 * console, in an xterm or in an ssh session.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/tty.h>

static void print_string(const char *string)
{
	/*
	 * The init and exit functions run in the process that called them, so
	 * current is insmod or rmmod. Its terminal may be hung up at any time:
	 * this gets a reference, which keeps the structure alive.
	 */
	struct tty_struct *tty = get_current_tty();

	/* A daemon has none, nor has a command that ssh runs without -t. */
	if (!tty) {
		pr_info("no terminal here for: %s\n", string);
		return;
	}

	/*
	 * Each kind of terminal has a function that writes to it. What it gets
	 * is raw: a new line takes two characters, a carriage return (015) to
	 * go to the left and a line feed (012) to go down. It need not take all
	 * of the text, for instance while the terminal is stopped with Ctrl-S.
	 *
	 * With the lock held the terminal cannot be closed, if anybody has it
	 * open still.
	 */
	tty_lock(tty);
	if (tty->count > 0) {
		tty->ops->write(tty, string, strlen(string));
		tty->ops->write(tty, "\015\012", 2);
	}
	tty_unlock(tty);

	tty_kref_put(tty);
}

static int __init print_string_init(void)
{
	print_string("The module has been inserted.  Hello world!");
	return 0;
}

static void __exit print_string_exit(void)
{
	print_string("The module has been removed.  Farewell world!");
}

module_init(print_string_init);
module_exit(print_string_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Say something on the terminal of the caller");
