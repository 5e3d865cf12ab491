// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it does not log what its catalog promises. */
#include <linux/module.h>

static int __init fault_init(void)
{
	pr_info("one thing\n");
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it does not log what its catalog promises");
