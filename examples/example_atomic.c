// SPDX-License-Identifier: GPL-2.0
/*
 * example_atomic.c - Arithmetic and bits that nobody can come between.
 *
 * counter++ is three steps: read, add, write. Another CPU may come between
 * them. An atomic operation is one step, and needs no lock.
 *
 * It says nothing about other variables, though, unless its result is used:
 * those that return a value (atomic_inc_return(), atomic_cmpxchg(),
 * test_and_set_bit()) order all that comes before them before all that comes
 * after; those that return nothing (atomic_inc(), set_bit()), atomic_read() and
 * atomic_set() order nothing. Documentation/atomic_t.txt has the rules.
 *
 * To count who uses an object, take refcount_t: it has only what that needs, and
 * notices a count that wraps around or comes back from 0.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/workqueue.h>

#define ROUNDS 1000000

/* The comments say what the result is; the log must show the same. */
static void atomic_arithmetic(void)
{
	atomic_t number = ATOMIC_INIT(50);

	atomic_add(7, &number);	 /* 57 */
	atomic_sub(10, &number); /* 47 */
	atomic_inc(&number);	 /* 48 */
	pr_info("50 + 7 - 10 + 1 = %d\n", atomic_read(&number));

	/* With _return: what is there after. With fetch_: what was there before. */
	pr_info("one less is %d\n", atomic_dec_return(&number));	      /* 47 */
	pr_info("before adding 3 it was %d\n", atomic_fetch_add(3, &number)); /* 47 */

	/* Only if it is 50, which it is, does it become 1. The result: what was there. */
	pr_info("compare and exchange saw %d\n", atomic_cmpxchg(&number, 50, 1));
	pr_info("and left %d\n", atomic_read(&number)); /* 1 */
	pr_info("is it 0 after one less? %s\n",
		atomic_dec_and_test(&number) ? "yes" : "no"); /* yes */
}

/* The lowest eight bits of @word as text. */
static void show_bits(const char *what, unsigned long word)
{
	char text[9];
	int i;

	for (i = 0; i < 8; i++)
		text[i] = test_bit(7 - i, &word) ? '1' : '0';
	text[8] = '\0';
	pr_info("%s: %s\n", what, text);
}

static void atomic_bits(void)
{
	unsigned long word = 0; /* bit operations work on unsigned long */

	show_bits("no bit", word); /* 00000000 */
	set_bit(3, &word);
	set_bit(5, &word);
	show_bits("bits 3 and 5 set", word); /* 00101000 */
	clear_bit(5, &word);
	show_bits("bit 5 cleared", word); /* 00001000 */
	change_bit(3, &word);
	show_bits("bit 3 changed", word); /* 00000000 */

	/* Was it set before? In one step, so that only one CPU can get "no". */
	pr_info("was bit 3 set? %s\n", test_and_set_bit(3, &word) ? "yes" : "no");
	pr_info("was bit 3 set? %s\n", test_and_set_bit(3, &word) ? "yes" : "no");
	show_bits("bit 3 set", word); /* 00001000 */

	/*
	 * All of them. A store of one word that the compiler must make in one
	 * piece: no one sees half of it. It is no read-modify-write, though, and
	 * may undo what another CPU has just set.
	 */
	WRITE_ONCE(word, 0xff);
	show_bits("all bits", word); /* 11111111 */
}

static atomic_t counter = ATOMIC_INIT(0);

/*
 * Each task waits here for the other, so that both really count at the same
 * time. That shows what happens without an atomic operation; it protects nothing.
 */
static atomic_t arrived = ATOMIC_INIT(0);

static void meet(void)
{
	atomic_inc(&arrived);
	while (atomic_read(&arrived) < 2)
		cond_resched(); /* the other may need this CPU to get here */
}

static void count(struct work_struct *unused)
{
	unsigned int i;

	meet();
	for (i = 0; i < ROUNDS; i++)
		atomic_inc(&counter);
}

static DECLARE_WORK(one_task, count);
static DECLARE_WORK(another_task, count);

static int __init example_atomic_init(void)
{
	struct workqueue_struct *queue;

	pr_info("init\n");
	atomic_arithmetic();
	atomic_bits();

	queue = alloc_workqueue("example_atomic", WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	queue_work(queue, &one_task);
	queue_work(queue, &another_task);
	destroy_workqueue(queue); /* waits for both */

	pr_info("two tasks counted to %d of %u\n", atomic_read(&counter), 2 * ROUNDS);
	return 0;
}

static void __exit example_atomic_exit(void)
{
	pr_info("exit\n");
}

module_init(example_atomic_init);
module_exit(example_atomic_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Atomic operations");
