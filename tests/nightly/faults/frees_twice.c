// SPDX-License-Identifier: GPL-2.0
/* A fault for the debug kernel to find: an object is freed twice. */
#include <linux/module.h>
#include <linux/slab.h>

static int __init fault_init(void)
{
	void *object = kmalloc(100, GFP_KERNEL);
	void *volatile same = object; /* so that the compiler does not see it */

	kfree(object);
	kfree(same);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for the debug kernel to find: an object is freed twice");
