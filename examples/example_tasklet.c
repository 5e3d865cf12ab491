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
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>

static unsigned int init_ms = 200;
module_param(init_ms, uint, 0444);
MODULE_PARM_DESC(init_ms, "how long the init function takes, in milliseconds (up to 1000)");

/* The book's takes five seconds. Nothing else runs on the CPU meanwhile. */
static unsigned int tasklet_ms = 400;
module_param(tasklet_ms, uint, 0444);
MODULE_PARM_DESC(tasklet_ms, "how long the tasklet takes, in milliseconds (up to 1000)");

#define MS_MAX 1000 /* watchdogs notice a CPU that is lost for longer: RCU and softlockup, 20 s */

/*
 * Software interrupts must not sleep, so that a delay here has to burn the
 * CPU: msleep() would be a bug. A work queue (sched.c) may sleep, and new code
 * takes that, or a threaded interrupt (bh_threaded.c): tasklets are being
 * retired.
 */
static void tasklet_fn(struct tasklet_struct *unused)
{
	pr_info("Example tasklet starts\n");
	mdelay(tasklet_ms);
	pr_info("Example tasklet ends\n");
}

/*
 * Since 5.9 the callback gets the tasklet itself. Before, it got an unsigned
 * long, and for a while DECLARE_TASKLET_OLD() kept such callbacks working.
 */
static DECLARE_TASKLET(mytask, tasklet_fn);

static int __init example_tasklet_init(void)
{
	if (init_ms > MS_MAX || tasklet_ms > MS_MAX) {
		pr_err("tasklet example: at most %d ms\n", MS_MAX);
		return -EINVAL;
	}

	pr_info("tasklet example init\n");
	tasklet_schedule(&mytask);
	mdelay(init_ms);
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
