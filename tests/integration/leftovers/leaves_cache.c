// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a slab cache */
#include <linux/module.h>
#include <linux/slab.h>

static int __init fault_init(void)
{
	return kmem_cache_create("leaves_cache", 200, 0, SLAB_POISON, NULL) ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a slab cache");
