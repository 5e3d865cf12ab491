// SPDX-License-Identifier: GPL-2.0
/*
 * example_spinlock.c - A spinlock: who finds it taken turns in a circle until it is free.
 *
 * That burns a CPU, so hold a spinlock for a short time only, and never sleep
 * with one held. In return it can be used where sleeping is forbidden.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#define ROUNDS 500000

static DEFINE_SPINLOCK(sl_static);
static unsigned int counter; /* protected by sl_static */

static void step(void)
{
	/* Says what the caller owes, and is checked where the kernel has PROVE_LOCKING. */
	lockdep_assert_held(&sl_static);
	WRITE_ONCE(counter, READ_ONCE(counter) + 1);
}

/*
 * spin_lock_irqsave() also keeps interrupts off this CPU, so that a handler
 * that wants the same lock cannot interrupt its holder and then turn for ever.
 * The flags remember whether they were off before: interrupts are not lost,
 * they come when the lock is released.
 */
static void example_spinlock_static(void)
{
	unsigned long flags;

	spin_lock_irqsave(&sl_static, flags);
	/* As the book does it. A console may be slow: do not print with a lock held. */
	pr_info("static spinlock locked\n");
	spin_unlock_irqrestore(&sl_static, flags);
	pr_info("static spinlock unlocked\n");
}

/* Most locks are part of a structure, and are made together with it. */
struct guarded {
	spinlock_t lock;
};

static int example_spinlock_dynamic(void)
{
	struct guarded *guarded = kmalloc(sizeof(*guarded), GFP_KERNEL);
	unsigned long flags;

	if (!guarded)
		return -ENOMEM;

	spin_lock_init(&guarded->lock);
	spin_lock_irqsave(&guarded->lock, flags);
	pr_info("dynamic spinlock locked\n");
	spin_unlock_irqrestore(&guarded->lock, flags);
	pr_info("dynamic spinlock unlocked\n");

	kfree(guarded);
	return 0;
}

/*
 * Each task waits here for the other, so that both really count at the same
 * time. That shows what happens without the lock; it protects nothing.
 */
static atomic_t arrived = ATOMIC_INIT(0);

static void meet(void)
{
	atomic_inc(&arrived);
	while (atomic_read(&arrived) < 2)
		cond_resched(); /* the other may need this CPU to get here */
}

/* Without the lock two CPUs could read the same number, and lose a step. */
static void count(struct work_struct *unused)
{
	unsigned long flags;
	unsigned int i;

	meet();
	for (i = 0; i < ROUNDS; i++) {
		spin_lock_irqsave(&sl_static, flags);
		step();
		spin_unlock_irqrestore(&sl_static, flags);
	}
}

static DECLARE_WORK(one_task, count);
static DECLARE_WORK(another_task, count);

static int __init example_spinlock_init(void)
{
	struct workqueue_struct *queue;
	int err;

	pr_info("init\n");
	example_spinlock_static();
	err = example_spinlock_dynamic();
	if (err)
		return err;

	queue = alloc_workqueue("example_spinlock", WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	queue_work(queue, &one_task);
	queue_work(queue, &another_task);
	destroy_workqueue(queue); /* waits for both */

	pr_info("two tasks counted to %u of %u\n", counter, 2 * ROUNDS);
	return 0;
}

static void __exit example_spinlock_exit(void)
{
	pr_info("exit\n");
}

module_init(example_spinlock_init);
module_exit(example_spinlock_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A spinlock");
