// SPDX-License-Identifier: GPL-2.0
/*
 * sched.c - Run work from a work queue.
 *
 * Work runs in a kernel thread, which the scheduler treats like any other
 * task. So, unlike a tasklet, work may sleep.
 */
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#define WORK_MS 500

static struct workqueue_struct *queue;

static void work_handler(struct work_struct *unused)
{
	pr_info("work begins in %s\n", current->comm);
	msleep(WORK_MS);
	pr_info("work ends\n");
}

static DECLARE_WORK(work, work_handler);

static int __init sched_init(void)
{
	/*
	 * WQ_UNBOUND: the work may run on any CPU. (Recent kernels want each
	 * queue to say that it is either unbound or per CPU.)
	 */
	queue = alloc_workqueue("helloworld", WQ_UNBOUND, 1);
	if (!queue)
		return -ENOMEM;

	pr_info("queueing work\n");
	queue_work(queue, &work);
	return 0;
}

static void __exit sched_exit(void)
{
	/* Runs what is still queued and waits for it, then frees the queue. */
	destroy_workqueue(queue);
	pr_info("the queue is empty\n");
}

module_init(sched_init);
module_exit(sched_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Run work from a work queue");
