// SPDX-License-Identifier: GPL-2.0
/* A fault for the debug kernel to find: init loses an object. */
#include <linux/module.h>
#include <linux/slab.h>

static int __init fault_init(void)
{
	return kmalloc(100, GFP_KERNEL) ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for the debug kernel to find: init loses an object");
