// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a timer armed, for much later */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timer.h>

static void ring(struct timer_list *timer)
{
	kfree(timer);
}

static int __init fault_init(void)
{
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	struct timer_list *timer = kzalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
	timer_setup(timer, ring, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a timer armed, for much later");
