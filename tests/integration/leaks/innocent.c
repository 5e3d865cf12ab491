// SPDX-License-Identifier: GPL-2.0
/* Gives back all that it takes: what must pass. */
#include <linux/module.h>
#include <linux/slab.h>

static void *memory;

static int __init innocent_init(void)
{
	memory = kmalloc(100, GFP_KERNEL);
	return memory ? 0 : -ENOMEM;
}
module_init(innocent_init);

static void __exit innocent_exit(void)
{
	kfree(memory);
}
module_exit(innocent_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Gives back all that it takes");
