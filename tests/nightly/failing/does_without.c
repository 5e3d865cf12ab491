// SPDX-License-Identifier: GPL-2.0
/* Needs no memory: what it gets makes it faster, say. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

static void *spare;

static int __init does_without_init(void)
{
	spare = kmalloc(64, GFP_KERNEL);
	return 0;
}

static void __exit does_without_exit(void)
{
	kfree(spare);
}

module_init(does_without_init);
module_exit(does_without_exit);

MODULE_DESCRIPTION("Is loaded whether it gets memory or not");
MODULE_LICENSE("GPL");
