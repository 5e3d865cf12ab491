// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it destroys a cache that an object is still in */
#include <linux/module.h>
#include <linux/slab.h>

static struct kmem_cache *cache;

static int __init fault_init(void)
{
	cache = kmem_cache_create("keeps_its_cache_busy", 200, 0, 0, NULL);
	if (!cache)
		return -ENOMEM;
	if (!kmem_cache_alloc(cache, GFP_KERNEL)) {
		kmem_cache_destroy(cache);
		return -ENOMEM;
	}
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	kmem_cache_destroy(cache);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it destroys a cache that an object is still in");
