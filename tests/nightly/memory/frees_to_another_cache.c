// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it gives an object back to a cache that it is not from */
#include <linux/module.h>
#include <linux/slab.h>

static struct kmem_cache *one, *other;
static void *object;

static int __init fault_init(void)
{
	one = kmem_cache_create("fault_one", 200, 0, 0, NULL);
	other = kmem_cache_create("fault_other", 300, 0, 0, NULL);
	if (one)
		object = kmem_cache_alloc(one, GFP_KERNEL);
	if (object && other)
		return 0;
	if (object)
		kmem_cache_free(one, object);
	kmem_cache_destroy(other);
	kmem_cache_destroy(one);
	return -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	kmem_cache_free(other, object);
	kmem_cache_destroy(other);
	kmem_cache_destroy(one);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for kmodlab to find: it gives an object back to a cache that it is not from");
