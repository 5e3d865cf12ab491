// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: the console says less when it has gone than before it came. */
#include <linux/module.h>
#include <linux/printk.h>

static int __init fault_init(void)
{
	console_loglevel = 1;
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it changes how much the console says");
