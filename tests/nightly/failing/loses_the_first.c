// SPDX-License-Identifier: GPL-2.0
/* Gets no memory for the second, and forgets that it has the first. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

static void *first, *second;

static int __init loses_the_first_init(void)
{
	void *got = kmalloc(64, GFP_KERNEL);

	if (!got)
		return -ENOMEM;
	second = kmalloc(64, GFP_KERNEL);
	if (!second)
		return -ENOMEM;
	first = got;
	return 0;
}

static void __exit loses_the_first_exit(void)
{
	kfree(second);
	kfree(first);
}

module_init(loses_the_first_init);
module_exit(loses_the_first_exit);

MODULE_DESCRIPTION("Loses memory where it gets no more");
MODULE_LICENSE("GPL");
