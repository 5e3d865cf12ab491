// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a timer armed that is a variable of the module's own */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/timer.h>

static void ring(struct timer_list *timer)
{
}

static DEFINE_TIMER(alarm_clock, ring);

static int __init fault_init(void)
{
	mod_timer(&alarm_clock, jiffies + 1000 * HZ);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a timer of its own armed");
