// SPDX-License-Identifier: GPL-2.0
/*
 * procfs4.c - A file in /proc through seq_file: /proc/iter.
 *
 * The module walks through its records, and seq_file cuts the text into what
 * the reader asks for: a record is never torn, and short reads and seeks are
 * seq_file's affair. This sequence has one record, a counter of readings.
 *
 *	cat /proc/iter
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/types.h>

#define PROCFS_NAME "iter"

/* Held from start to stop, so that what is shown is what is counted. */
static DEFINE_MUTEX(counter_lock);
static unsigned long counter;

/*
 * Begin at record *pos: called at the beginning of a reading, and again when
 * the reader comes back for more. NULL: there is no such record, the end.
 */
static void *iter_start(struct seq_file *seq, loff_t *pos)
{
	mutex_lock(&counter_lock);
	return *pos == 0 ? &counter : NULL;
}

/* Go on to the next record: move *pos, always, even past the last one. */
static void *iter_next(struct seq_file *seq, void *record, loff_t *pos)
{
	lockdep_assert_held(&counter_lock);
	++*pos;
	counter++;
	return NULL;
}

/* After start, whatever it returned. Another start may follow. */
static void iter_stop(struct seq_file *seq, void *record)
{
	mutex_unlock(&counter_lock);
}

static int iter_show(struct seq_file *seq, void *record)
{
	const unsigned long *value = record;

	lockdep_assert_held(&counter_lock);
	seq_printf(seq, "%lu\n", *value);
	return 0;
}

static const struct seq_operations iter_seq_ops = {
	.start = iter_start,
	.next = iter_next,
	.stop = iter_stop,
	.show = iter_show,
};

static struct proc_dir_entry *procfile;

static int __init procfs4_init(void)
{
	/* Fills in the file's operations, too: seq_read, seq_lseek and so on. */
	procfile = proc_create_seq(PROCFS_NAME, 0444, NULL, &iter_seq_ops);
	if (!procfile) {
		pr_err("cannot create /proc/%s\n", PROCFS_NAME);
		return -ENOMEM;
	}
	pr_info("/proc/%s created\n", PROCFS_NAME);
	return 0;
}

static void __exit procfs4_exit(void)
{
	proc_remove(procfile);
	pr_info("/proc/%s removed\n", PROCFS_NAME);
}

module_init(procfs4_init);
module_exit(procfs4_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A file in /proc through seq_file");
