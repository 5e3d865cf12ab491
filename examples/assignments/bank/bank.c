// SPDX-License-Identifier: GPL-2.0
/*
 * bank.c - A file, /proc/bank, with accounts between which money is moved.
 *
 *	echo 0 3 250 >/proc/bank
 *	cat /proc/bank
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#define ACCOUNTS 8
#define BEGIN 1000  /* what is in each when the bank opens */
#define LINE_MAX 64 /* bytes of the longest order */
#define SLOW_US 20  /* Banks are slow, and in that time somebody else may come. */

static unsigned int balance[ACCOUNTS];

/* TODO 1: What keeps those apart who come at the same time. */
static DEFINE_MUTEX(bank_lock); /* for all balances */
/* TODO 1 ends */

/* The books: whoever calls these sees to it that nobody else does. */
static unsigned int bank_read(unsigned int account)
{
	unsigned int found = READ_ONCE(balance[account]);

	udelay(SLOW_US);
	return found;
}

static void bank_enter(unsigned int account, unsigned int amount)
{
	WRITE_ONCE(balance[account], amount);
}

static int bank_show(struct seq_file *file, void *unused)
{
	unsigned int account;

	/* TODO 2: What is told is how all accounts were at one moment. */
	mutex_lock(&bank_lock);
	/* TODO 2 ends */
	for (account = 0; account < ACCOUNTS; account++)
		seq_printf(file, "%u %u\n", account, bank_read(account));
	/* TODO 3: Now somebody else may come. */
	mutex_unlock(&bank_lock);
	/* TODO 3 ends */
	return 0;
}

static int bank_open(struct inode *inode, struct file *file)
{
	return single_open(file, bank_show, NULL);
}

/* Move an amount from one account to another. 0, or why that cannot be. */
static int bank_move(unsigned int from, unsigned int to, unsigned int amount)
{
	/*
	 * TODO 4: An account that is not there, or the same twice, is -EINVAL. What is not in the first
	 * is not moved: -EDQUOT. No money is made and none is lost, whoever else comes meanwhile.
	 */
	/* SKELETON: bank_enter(to, bank_read(to) + amount); */
	/* SKELETON: return 0; */
	unsigned int old;
	int err = 0;

	if (from >= ACCOUNTS || to >= ACCOUNTS || from == to)
		return -EINVAL;
	mutex_lock(&bank_lock);
	old = bank_read(from);
	if (amount > old) {
		err = -EDQUOT;
	} else {
		bank_enter(from, old - amount);
		bank_enter(to, bank_read(to) + amount);
	}
	mutex_unlock(&bank_lock);
	return err;
	/* TODO 4 ends */
}

static ssize_t bank_write(struct file *file, const char __user *buffer, size_t length,
			  loff_t *offset)
{
	unsigned int from, to, amount;
	char line[LINE_MAX];
	int err;

	if (length >= LINE_MAX)
		return -EINVAL;
	if (copy_from_user(line, buffer, length))
		return -EFAULT;
	line[length] = '\0';
	if (sscanf(line, "%u %u %u", &from, &to, &amount) != 3)
		return -EINVAL;
	err = bank_move(from, to, amount);
	return err ?: length;
}

static const struct proc_ops bank_ops = {
	.proc_open = bank_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = bank_write,
	.proc_release = single_release,
};

static int __init bank_init(void)
{
	unsigned int account;

	for (account = 0; account < ACCOUNTS; account++)
		balance[account] = BEGIN;
	if (!proc_create("bank", 0644, NULL, &bank_ops))
		return -ENOMEM;
	pr_info("the bank is open\n");
	return 0;
}

static void __exit bank_exit(void)
{
	remove_proc_entry("bank", NULL);
	pr_info("the bank is closed\n");
}

module_init(bank_init);
module_exit(bank_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Accounts between which money is moved, one at a time");
