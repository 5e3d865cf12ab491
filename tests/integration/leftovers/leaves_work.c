// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a delayed work queued, for much later */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

static void work_late(struct work_struct *work)
{
	kfree(to_delayed_work(work));
}

static int __init fault_init(void)
{
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	struct delayed_work *work = kzalloc(sizeof(*work), GFP_KERNEL);

	if (!work)
		return;
	INIT_DELAYED_WORK(work, work_late);
	schedule_delayed_work(work, 1000 * HZ);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for kmodlab to find: exit leaves a delayed work queued, for much later");
