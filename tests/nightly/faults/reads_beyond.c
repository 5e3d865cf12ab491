// SPDX-License-Identifier: GPL-2.0
/* A fault for the debug kernel to find: a byte beyond an object is read. */
#include <linux/module.h>
#include <linux/slab.h>

static int __init fault_init(void)
{
	volatile int beyond = 100;
	char *object = kzalloc(100, GFP_KERNEL);

	if (!object)
		return -ENOMEM;
	pr_info("beyond: %d\n", object[beyond]);
	kfree(object);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for the debug kernel to find: a byte beyond an object is read");
