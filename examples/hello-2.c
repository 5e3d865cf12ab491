// SPDX-License-Identifier: GPL-2.0
/*
 * hello-2.c - The two functions of a module may have any name.
 *
 * module_init() and module_exit() tell the kernel which they are. So they can
 * be static, and cannot clash with a name of anybody else.
 */
#include <linux/module.h>
#include <linux/printk.h>

static int hello_2_init(void)
{
	pr_info("Hello, world 2\n");
	return 0;
}

static void hello_2_exit(void)
{
	pr_info("Goodbye, world 2\n");
}

module_init(hello_2_init);
module_exit(hello_2_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("The functions of a module under names of their own");
