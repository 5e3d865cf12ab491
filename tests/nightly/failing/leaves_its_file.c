// SPDX-License-Identifier: GPL-2.0
/* Gets no memory, and goes without taking its file away. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>

static void *memory;

static int __init leaves_its_file_init(void)
{
	if (!proc_mkdir("leaves_its_file", NULL))
		return -ENOMEM;
	memory = kmalloc(64, GFP_KERNEL);
	if (!memory)
		return -ENOMEM;
	return 0;
}

static void __exit leaves_its_file_exit(void)
{
	kfree(memory);
	remove_proc_entry("leaves_its_file", NULL);
}

module_init(leaves_its_file_init);
module_exit(leaves_its_file_exit);

MODULE_DESCRIPTION("Leaves its file behind where it gets no memory");
MODULE_LICENSE("GPL");
