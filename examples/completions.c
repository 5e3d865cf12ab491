// SPDX-License-Identifier: GPL-2.0
/*
 * completions.c - Two threads, one of which must wait for the other.
 *
 * The crank has to be turned before the flywheel can spin. The flywheel's
 * thread is started first, and yet waits.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/version.h>

static unsigned int crank_ms = 100;
module_param(crank_ms, uint, 0444);
MODULE_PARM_DESC(crank_ms, "how long it takes to turn the crank, in milliseconds");

#define CRANK_MS_MAX 60000 /* rmmod waits for the crank, and cannot be interrupted */

static struct {
	struct completion crank;
	struct completion flywheel;
} machine;

/*
 * A thread ends here, with a completion, and not with a return: what comes
 * after complete() is then the kernel's code and not ours, which may be gone.
 * The function was renamed in 5.17.
 */
static void __noreturn end_thread(struct completion *done)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0)
	kthread_complete_and_exit(done, 0);
#else
	complete_and_exit(done, 0);
#endif
}

static int crank_thread(void *unused)
{
	msleep(crank_ms);
	pr_info("turn the crank\n");
	/* Wakes one waiter, or lets one through that has yet to come. */
	end_thread(&machine.crank);
}

static int flywheel_thread(void *unused)
{
	/*
	 * Sleeps until the crank is complete. There are variants with a time
	 * limit, and variants that a signal can end.
	 */
	wait_for_completion(&machine.crank);
	pr_info("the flywheel spins up\n");
	end_thread(&machine.flywheel);
}

static int __init completions_init(void)
{
	struct task_struct *crank, *flywheel;

	if (crank_ms > CRANK_MS_MAX) {
		pr_err("crank_ms is %d at most\n", CRANK_MS_MAX);
		return -EINVAL;
	}

	init_completion(&machine.crank);
	init_completion(&machine.flywheel);

	/* Create both before either runs: a lone flywheel would wait for ever. */
	flywheel = kthread_create(flywheel_thread, NULL, "kmodlab-flywheel");
	if (IS_ERR(flywheel))
		return PTR_ERR(flywheel);
	crank = kthread_create(crank_thread, NULL, "kmodlab-crank");
	if (IS_ERR(crank)) {
		kthread_stop(flywheel); /* it never ran, and never will */
		return PTR_ERR(crank);
	}

	pr_info("the machine starts\n");
	wake_up_process(flywheel);
	wake_up_process(crank);
	return 0;
}

static void __exit completions_exit(void)
{
	/* The flywheel waited for the crank, so when it is done, both are. */
	wait_for_completion(&machine.flywheel);
	pr_info("the machine is off\n");
}

module_init(completions_init);
module_exit(completions_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Two threads, one of which must wait for the other");
