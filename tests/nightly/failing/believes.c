// SPDX-License-Identifier: GPL-2.0
/* Never asks whether it got its memory. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

static int *second;

static int __init believes_init(void)
{
	void *first = kmalloc(64, GFP_KERNEL);

	if (!first)
		return -ENOMEM;
	kfree(first);
	second = kmalloc(64, GFP_KERNEL);
	*second = 1;
	return 0;
}

static void __exit believes_exit(void)
{
	kfree(second);
}

module_init(believes_init);
module_exit(believes_exit);

MODULE_DESCRIPTION("Uses memory that it did not get");
MODULE_LICENSE("GPL");
