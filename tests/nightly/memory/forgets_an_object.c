// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it leaves a cache behind, with an object in it */
#include <linux/module.h>
#include <linux/slab.h>

static int __init fault_init(void)
{
	struct kmem_cache *cache = kmem_cache_create("forgets_an_object", 200, 0, 0, NULL);

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
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it leaves a cache behind, with an object in it");
