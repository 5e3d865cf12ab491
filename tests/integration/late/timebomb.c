// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves work asleep, which wakes up in memory that the module has no more. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#ifndef SECONDS
#define SECONDS 10
#endif

/*
 * A small module that is loaded next gets the same addresses, and the work would go on in what it has there, which may even do no harm.
 * So what explodes is far behind the start, where nobody has any code.
 */
static void __used far(void)
{
	asm volatile(".skip 65536");
}

static DECLARE_COMPLETION(asleep);

static void __section(".text.behind") explode(struct work_struct *work)
{
	complete(&asleep);
	msleep(SECONDS * MSEC_PER_SEC);
	pr_info("still loaded\n");
}

static int __init fault_init(void)
{
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	struct work_struct *work = kzalloc(sizeof(*work), GFP_KERNEL);

	if (!work)
		return;
	INIT_WORK(work, explode);
	schedule_work(work);
	wait_for_completion(&asleep);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves work asleep");
