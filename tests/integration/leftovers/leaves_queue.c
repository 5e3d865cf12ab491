// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a workqueue with its rescuer */
#include <linux/module.h>
#include <linux/workqueue.h>

static int __init fault_init(void)
{
	return alloc_workqueue("leaves_queue", WQ_MEM_RECLAIM, 0) ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a workqueue with its rescuer");
