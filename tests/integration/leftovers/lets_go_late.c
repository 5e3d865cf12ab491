// SPDX-License-Identifier: GPL-2.0
/* No fault at all: what it removes is gone some time after it */
#include <linux/module.h>
#include <linux/slab.h>

static struct kmem_cache *cache;

static int __init fault_init(void)
{
	cache = kmem_cache_create("lets_go_late", 200, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	return cache ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	kmem_cache_destroy(cache);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No fault at all: what it removes is gone some time after it");
