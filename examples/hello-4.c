// SPDX-License-Identifier: GPL-2.0
/*
 * hello-4.c - What a module says about itself. See it with "modinfo hello-4.ko".
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

/*
 * The licence is more than documentation: a module that does not name a free
 * one taints the kernel, and cannot use what is exported with
 * EXPORT_SYMBOL_GPL(). From 6.15 on a missing description is a warning, too.
 */
MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A sample driver");

static int __init hello_4_init(void)
{
	pr_info("Hello, world 4\n");
	return 0;
}

static void __exit hello_4_exit(void)
{
	pr_info("Goodbye, world 4\n");
}

module_init(hello_4_init);
module_exit(hello_4_exit);
