// SPDX-License-Identifier: GPL-2.0
/* No fault at all: its delayed work is armed for much later, and cancelled */
#include <linux/module.h>
#include <linux/workqueue.h>

static void never(struct work_struct *work)
{
}

static DECLARE_DELAYED_WORK(late, never);

static int __init fault_init(void)
{
	schedule_delayed_work(&late, 1000 * HZ);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	cancel_delayed_work_sync(&late);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No fault at all: its delayed work is armed for much later, and cancelled");
