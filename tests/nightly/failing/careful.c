// SPDX-License-Identifier: GPL-2.0
/* Refuses to be loaded where it gets no memory, and gives back what it has got until then. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>

static void *first, *second;

static int __init careful_init(void)
{
	first = kmalloc(64, GFP_KERNEL);
	if (!first)
		return -ENOMEM;
	if (!proc_mkdir("careful", NULL))
		goto free_first;
	second = kmalloc(128, GFP_KERNEL | __GFP_NOWARN);
	if (!second)
		goto remove;
	return 0;

remove:
	remove_proc_entry("careful", NULL);
free_first:
	kfree(first);
	return -ENOMEM;
}

static void __exit careful_exit(void)
{
	kfree(second);
	remove_proc_entry("careful", NULL);
	kfree(first);
}

module_init(careful_init);
module_exit(careful_exit);

MODULE_DESCRIPTION("Stands that each of its allocations fails");
MODULE_LICENSE("GPL");
