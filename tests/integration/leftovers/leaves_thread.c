// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a thread of the kernel's, asleep */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>

static int doze(void *unused)
{
	msleep(1000 * MSEC_PER_SEC);
	return 0;
}

static int __init fault_init(void)
{
	return PTR_ERR_OR_ZERO(kthread_run(doze, NULL, "left_asleep"));
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a thread of the kernel's, asleep");
