// SPDX-License-Identifier: GPL-2.0
/*
 * start.c - The first half of a module that spans two files: startstop.ko.
 *
 * The Makefile says which files belong together. What describes the module,
 * its licence for one, is said once for the whole.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

static int __init startstop_init(void)
{
	pr_info("Hello, world - this is the kernel speaking\n");
	return 0;
}

module_init(startstop_init);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A module made of two files");
