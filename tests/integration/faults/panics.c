// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: init panics the kernel. */
#include <linux/kernel.h>
#include <linux/module.h>

static int __init fault_init(void)
{
	panic("nothing can be done");
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: init panics the kernel");
