// SPDX-License-Identifier: GPL-2.0
/*
 * example_tasklet.c - Put work off into a tasklet.
 *
 * A tasklet runs soon, once, in a software interrupt: usually at the end of
 * the next hardware interrupt, on the CPU that scheduled it. Often that is in
 * the middle of example_tasklet_init() below; sometimes (a busy machine, a
 * real-time kernel) it is later, in the thread ksoftirqd. So the log shows the
 * four lines in an order that may vary.
 */
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/module.h>

#define INIT_MS 200
#define TASKLET_MS 400 /* the kernel's watchdogs notice one that takes a second */

/*
 * Software interrupts must not sleep, so that a delay here has to burn the
 * CPU: msleep() would be a bug. A work queue (sched.c) may sleep.
 */
static void tasklet_fn(struct tasklet_struct *unused)
{
	pr_info("Example tasklet starts\n");
	mdelay(TASKLET_MS);
	pr_info("Example tasklet ends\n");
}

/*
 * Since 5.9 the callback gets the tasklet itself. Before, it got an unsigned
 * long, and for a while DECLARE_TASKLET_OLD() kept such callbacks working.
 */
static DECLARE_TASKLET(mytask, tasklet_fn);

static int __init example_tasklet_init(void)
{
	pr_info("tasklet example init\n");
	tasklet_schedule(&mytask);
	mdelay(INIT_MS);
	pr_info("Example tasklet init continues...\n");
	return 0;
}

static void __exit example_tasklet_exit(void)
{
	/* Waits for a tasklet that runs: its code is about to be freed. */
	tasklet_kill(&mytask);
	pr_info("tasklet example exit\n");
}

module_init(example_tasklet_init);
module_exit(example_tasklet_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Put work off into a tasklet");
