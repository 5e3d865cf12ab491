// SPDX-License-Identifier: GPL-2.0
/*
 * tally.c - A file, /proc/tally, that counts the numbers that are written to it, and adds them up.
 *
 *	echo 20 >/proc/tally
 *	cat /proc/tally
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#define LINE_MAX 32 /* bytes of the longest line that can be written */

/* TODO 1: What the file has to keep, and what keeps two writers apart. */
static DEFINE_MUTEX(tally_lock); /* for all that follows */
static unsigned int tally_count;
static s64 tally_sum;
/* TODO 1 ends */

static int tally_show(struct seq_file *file, void *unused)
{
	/* TODO 2: Say how many numbers there were, and what they add up to: "count 2\nsum 30\n". */
	/* SKELETON: seq_puts(file, "count 0\nsum 0\n"); */
	mutex_lock(&tally_lock);
	seq_printf(file, "count %u\nsum %lld\n", tally_count, tally_sum);
	mutex_unlock(&tally_lock);
	/* TODO 2 ends */
	return 0;
}

static int tally_open(struct inode *inode, struct file *file)
{
	return single_open(file, tally_show, NULL);
}

static ssize_t tally_write(struct file *file, const char __user *buffer, size_t length,
			   loff_t *offset)
{
	/*
	 * TODO 3: Take one line: a whole number, which may be less than 0, or the word reset, which
	 * forgets all numbers. Anything else, and a line of LINE_MAX bytes or more, is -EINVAL; a sum
	 * that does not fit into 64 bits is -ERANGE; a buffer that cannot be read is -EFAULT. After each
	 * of these nothing has changed.
	 */
	/* SKELETON: return length; */
	char line[LINE_MAX];
	s64 number, sum;
	int err = 0;

	if (length >= LINE_MAX)
		return -EINVAL;
	if (copy_from_user(line, buffer, length))
		return -EFAULT;
	line[length] = '\0';
	if (sysfs_streq(line, "reset")) {
		mutex_lock(&tally_lock);
		tally_count = 0;
		tally_sum = 0;
		mutex_unlock(&tally_lock);
		return length;
	}
	err = kstrtos64(line, 10, &number);
	if (err)
		return err;
	mutex_lock(&tally_lock);
	if (check_add_overflow(tally_sum, number, &sum)) {
		err = -ERANGE;
	} else {
		tally_sum = sum;
		tally_count++;
	}
	mutex_unlock(&tally_lock);
	return err ?: length;
	/* TODO 3 ends */
}

static const struct proc_ops tally_ops = {
	.proc_open = tally_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = tally_write,
	.proc_release = single_release,
};

static int __init tally_init(void)
{
	if (!proc_create("tally", 0644, NULL, &tally_ops))
		return -ENOMEM;
	pr_info("/proc/tally created\n");
	return 0;
}

static void __exit tally_exit(void)
{
	/* TODO 4: The file goes with the module. */
	remove_proc_entry("tally", NULL);
	/* TODO 4 ends */
	pr_info("/proc/tally removed\n");
}

module_init(tally_init);
module_exit(tally_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A file in /proc that adds up");
