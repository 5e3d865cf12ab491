// SPDX-License-Identifier: GPL-2.0
/*
 * example_atomic.c - Arithmetic and bits that nobody can come between.
 *
 * counter++ is three steps: read, add, write. Another CPU may come between
 * them. An atomic operation is one step, and needs no lock.
 */
#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#define ROUNDS 100000

/* The comments say what the result is; the log must show the same. */
static void atomic_arithmetic(void)
{
	atomic_t number = ATOMIC_INIT(50);

	atomic_add(7, &number);	 /* 57 */
	atomic_sub(10, &number); /* 47 */
	atomic_inc(&number);	 /* 48 */
	pr_info("example_atomic: 50 + 7 - 10 + 1 = %d\n", atomic_read(&number));

	/* With _return: what is there after. With fetch_: what was there before. */
	pr_info("example_atomic: one less is %d\n", atomic_dec_return(&number)); /* 47 */
	pr_info("example_atomic: before adding 3 it was %d\n",
		atomic_fetch_add(3, &number)); /* 47 */

	/* Only if it is 50, which it is, does it become 1. The result: what was there. */
	pr_info("example_atomic: compare and exchange saw %d\n", atomic_cmpxchg(&number, 50, 1));
	pr_info("example_atomic: and left %d\n", atomic_read(&number)); /* 1 */
	pr_info("example_atomic: is it 0 after one less? %s\n",
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
	pr_info("example_atomic: %s: %s\n", what, text);
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
	pr_info("example_atomic: was bit 3 set? %s\n", test_and_set_bit(3, &word) ? "yes" : "no");
	pr_info("example_atomic: was bit 3 set? %s\n", test_and_set_bit(3, &word) ? "yes" : "no");
	show_bits("bit 3 set", word); /* 00001000 */

	/* A plain assignment changes all of them, and is atomic for one word. */
	WRITE_ONCE(word, 0xff);
	show_bits("all bits", word); /* 11111111 */
}

static atomic_t counter = ATOMIC_INIT(0);

static void count(struct work_struct *unused)
{
	unsigned int i;

	for (i = 0; i < ROUNDS; i++)
		atomic_inc(&counter);
}

static DECLARE_WORK(one_task, count);
static DECLARE_WORK(another_task, count);

static int __init example_atomic_init(void)
{
	struct workqueue_struct *queue;

	pr_info("example_atomic: init\n");
	atomic_arithmetic();
	atomic_bits();

	queue = alloc_workqueue("example_atomic", WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	queue_work(queue, &one_task);
	queue_work(queue, &another_task);
	destroy_workqueue(queue); /* waits for both */

	pr_info("example_atomic: two tasks counted to %d of %u\n", atomic_read(&counter),
		2 * ROUNDS);
	return 0;
}

static void __exit example_atomic_exit(void)
{
	pr_info("example_atomic: exit\n");
}

module_init(example_atomic_init);
module_exit(example_atomic_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Atomic operations");
