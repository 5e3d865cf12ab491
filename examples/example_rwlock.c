// SPDX-License-Identifier: GPL-2.0
/*
 * example_rwlock.c - A read-write lock: any number of readers, or one writer.
 *
 * A spinlock for data that is often read and is seldom changed. A writer has
 * it alone.
 *
 * Think twice before you take one today: readers still write to the lock, so
 * that on many CPUs it is no faster than a spinlock, and a stream of readers can
 * keep a writer out for long. New code takes a spinlock, or RCU, whose readers
 * take no lock at all (Documentation/RCU/whatisRCU.rst).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#define ROUNDS 100000

static DEFINE_RWLOCK(myrwlock);
static unsigned int left, right; /* protected by myrwlock; always the same, but for a writer */

static atomic_t torn = ATOMIC_INIT(0); /* how often a reader saw them differ */

static bool pair_is_torn(void)
{
	lockdep_assert_held_read(&myrwlock);
	return READ_ONCE(left) != READ_ONCE(right);
}

static void set_pair(unsigned int value)
{
	lockdep_assert_held_write(&myrwlock);
	WRITE_ONCE(left, value);
	WRITE_ONCE(right, value);
}

/*
 * Each task waits here for the others, so that all really run at the same
 * time. That shows what happens without the lock; it protects nothing.
 */
static atomic_t arrived = ATOMIC_INIT(0);

static void meet(void)
{
	atomic_inc(&arrived);
	while (atomic_read(&arrived) < 3)
		cond_resched(); /* another may need this CPU to get here */
}

static void example_read_lock(void)
{
	unsigned long flags;

	read_lock_irqsave(&myrwlock, flags);
	pr_info("read locked\n");
	read_unlock_irqrestore(&myrwlock, flags);
	pr_info("read unlocked\n");
}

static void example_write_lock(void)
{
	unsigned long flags;

	write_lock_irqsave(&myrwlock, flags);
	pr_info("write locked\n");
	write_unlock_irqrestore(&myrwlock, flags);
	pr_info("write unlocked\n");
}

/*
 * If no interrupt handler uses the lock, there is no need to keep interrupts
 * off, and the simpler functions will do, as in the two tasks below.
 */
static void read_pairs(struct work_struct *unused)
{
	unsigned int i;

	meet();
	for (i = 0; i < ROUNDS; i++) {
		read_lock(&myrwlock);
		if (pair_is_torn())
			atomic_inc(&torn);
		read_unlock(&myrwlock);
	}
}

static void write_pairs(struct work_struct *unused)
{
	unsigned int i;

	meet();
	for (i = 0; i < ROUNDS; i++) {
		write_lock(&myrwlock);
		set_pair(i);
		write_unlock(&myrwlock);
	}
}

static DECLARE_WORK(one_reader, read_pairs);
static DECLARE_WORK(another_reader, read_pairs);
static DECLARE_WORK(writer, write_pairs);

static int __init example_rwlock_init(void)
{
	struct workqueue_struct *queue;

	pr_info("init\n");
	example_read_lock();
	example_write_lock();

	queue = alloc_workqueue("example_rwlock", WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	queue_work(queue, &one_reader);
	queue_work(queue, &writer);
	queue_work(queue, &another_reader);
	destroy_workqueue(queue); /* waits for all three */

	pr_info("readers saw %d of %u pairs torn\n", atomic_read(&torn), 2 * ROUNDS);
	return 0;
}

static void __exit example_rwlock_exit(void)
{
	pr_info("exit\n");
}

module_init(example_rwlock_init);
module_exit(example_rwlock_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A read-write lock");
