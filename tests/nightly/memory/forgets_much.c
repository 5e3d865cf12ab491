// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it loses much memory with one load */
#include <linux/module.h>
#include <linux/slab.h>

static int __init fault_init(void)
{
	int each;

	for (each = 0; each < 50; each++)
		if (!kmalloc(1000, GFP_KERNEL))
			return -ENOMEM;
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it loses much memory with one load");
