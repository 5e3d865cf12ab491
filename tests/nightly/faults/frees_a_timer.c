// SPDX-License-Identifier: GPL-2.0
/* A fault for the debug kernel to find: a timer is freed while it runs. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timer.h>

static void tick(struct timer_list *timer)
{
}

static int __init fault_init(void)
{
	struct timer_list *timer = kmalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return -ENOMEM;
	timer_setup(timer, tick, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
	kfree(timer);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for the debug kernel to find: a timer is freed while it runs");
