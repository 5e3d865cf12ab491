// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a timer armed, which calls into memory that the module has no more. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timer.h>

#ifndef SECONDS
#define SECONDS 10
#endif

/*
 * A small module that is loaded next gets the same addresses, and the timer would call what it has there, which may even do no harm.
 * So what explodes is far behind the start, where nobody has any code.
 */
static void __used far(void)
{
	asm volatile(".skip 65536");
}

static void __section(".text.behind") explode(struct timer_list *timer)
{
	pr_info("still loaded\n");
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
	timer_setup(timer, explode, 0);
	mod_timer(timer, jiffies + SECONDS * HZ);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a timer armed");
