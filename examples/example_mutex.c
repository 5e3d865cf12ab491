// SPDX-License-Identifier: GPL-2.0
/*
 * example_mutex.c - A mutex: one task at a time; the others sleep until it is free.
 *
 * The first choice wherever its users may sleep. Only the task that locked it
 * may unlock it, and a task that locks it twice waits for itself, for ever.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#define ROUNDS 500

static DEFINE_MUTEX(mymutex);
static unsigned int counter; /* protected by mymutex */

/*
 * Read, think, write: if two tasks did that at once, both could read the same
 * number, and one step would be lost.
 */
static void count(struct work_struct *unused)
{
	unsigned int i, seen;

	for (i = 0; i < ROUNDS; i++) {
		mutex_lock(&mymutex);
		seen = counter;
		/* Who holds a mutex may sleep. Who holds a spinlock must not. */
		usleep_range(10, 20);
		counter = seen + 1;
		mutex_unlock(&mymutex);
	}
}

/* Two tasks, in threads of the kernel's, on any two CPUs. */
static DECLARE_WORK(one_task, count);
static DECLARE_WORK(another_task, count);

static int __init example_mutex_init(void)
{
	struct workqueue_struct *queue;

	pr_info("init\n");

	/* Unlike mutex_lock(), this does not sleep: it says whether it got the mutex. */
	if (mutex_trylock(&mymutex)) {
		pr_info("the mutex is locked\n");
		if (mutex_is_locked(&mymutex) && !mutex_trylock(&mymutex))
			pr_info("it cannot be locked twice\n");
		mutex_unlock(&mymutex);
		pr_info("the mutex is unlocked\n");
	} else {
		pr_info("the mutex is busy\n");
	}

	queue = alloc_workqueue("example_mutex", WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	queue_work(queue, &one_task);
	queue_work(queue, &another_task);
	destroy_workqueue(queue); /* waits for both */

	pr_info("two tasks counted to %u of %u\n", counter, 2 * ROUNDS);
	return 0;
}

static void __exit example_mutex_exit(void)
{
	pr_info("exit\n");
}

module_init(example_mutex_init);
module_exit(example_mutex_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A mutex");
