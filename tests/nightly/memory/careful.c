// SPDX-License-Identifier: GPL-2.0
/* No fault at all: it frees what it takes, a cache and an object of it too */
#include <linux/module.h>
#include <linux/slab.h>

static char *kept;

static struct kmem_cache *cache;
static void *object;

static int __init fault_init(void)
{
	cache = kmem_cache_create("careful", 200, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	if (!cache)
		return -ENOMEM;
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	kept = kzalloc(100, GFP_KERNEL);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	kfree(kept);
	if (object)
		kmem_cache_free(cache, object);
	kmem_cache_destroy(cache);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No fault at all: it frees what it takes, a cache and an object of it too");
