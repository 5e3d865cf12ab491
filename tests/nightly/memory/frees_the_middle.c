// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it frees a pointer into the middle of its memory */
#include <linux/module.h>
#include <linux/slab.h>

static char *kept;

static int __init fault_init(void)
{
	kept = kmalloc(100, GFP_KERNEL);
	return kept ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	kfree(READ_ONCE(kept) + 16);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it frees a pointer into the middle of its memory");
