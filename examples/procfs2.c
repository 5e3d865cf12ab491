// SPDX-License-Identifier: GPL-2.0
/*
 * procfs2.c - A file in /proc that can be read and written: /proc/buffer1k.
 *
 *	echo something > /proc/buffer1k
 *	cat /proc/buffer1k
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>

#define PROCFS_NAME "buffer1k"
#define PROCFS_MAX_SIZE 1024

/* Any number of processes may read and write at once. */
static DEFINE_MUTEX(buffer_lock);
static char buffer[PROCFS_MAX_SIZE] = "HelloWorld!\n"; /* no string: it need not end in a NUL */
static size_t buffer_size = sizeof("HelloWorld!\n") - 1;

static ssize_t procfile_read(struct file *file, char __user *to, size_t length, loff_t *offset)
{
	ssize_t ret;

	/* To wait for a mutex is to sleep. Let a signal (Ctrl-C) end that. */
	if (mutex_lock_interruptible(&buffer_lock))
		return -ERESTARTSYS;
	ret = simple_read_from_buffer(to, length, offset, buffer, buffer_size);
	mutex_unlock(&buffer_lock);
	return ret;
}

/* Put @length bytes at @offset: there the contents end. The caller holds the lock. */
static void put_text(const char *text, size_t length, loff_t offset)
{
	lockdep_assert_held(&buffer_lock); /* checked where the kernel has PROVE_LOCKING */

	/* Nobody wrote what is between the end and the writer's position. */
	if (offset > buffer_size)
		memset(buffer + buffer_size, 0, offset - buffer_size);
	memcpy(buffer + offset, text, length);
	/* procfile_lseek() reads it without the lock, so it must change in one piece. */
	WRITE_ONCE(buffer_size, offset + length);
}

/*
 * Data comes from user space with copy_from_user(), here inside of
 * memdup_user(). That may fail halfway, and leaves zeros where it did: so it
 * goes into memory of its own first, and a write that fails changes nothing.
 *
 * A write takes what fits and returns how much that was; the writer comes back
 * with the rest, and hears then that there is no room.
 */
static ssize_t procfile_write(struct file *file, const char __user *from, size_t length,
			      loff_t *offset)
{
	char *text;

	if (!length)
		return 0;
	if (*offset >= PROCFS_MAX_SIZE)
		return -ENOSPC;
	length = min_t(size_t, length, PROCFS_MAX_SIZE - *offset);

	text = memdup_user(from, length);
	if (IS_ERR(text))
		return PTR_ERR(text);

	if (mutex_lock_interruptible(&buffer_lock)) {
		kfree(text);
		return -ERESTARTSYS;
	}
	put_text(text, length, *offset);
	*offset += length;
	/*
	 * %*pE escapes what could fake other lines of the log. A line of the log
	 * has room for about a thousand characters; what is longer is cut.
	 */
	pr_info("%zu bytes written: %*pE\n", length, (int)length, text);
	mutex_unlock(&buffer_lock);
	kfree(text);
	return length;
}

static loff_t procfile_lseek(struct file *file, loff_t offset, int whence)
{
	/* One long is read in one piece, so the lock is not needed. */
	return generic_file_llseek_size(file, offset, whence, PROCFS_MAX_SIZE,
					READ_ONCE(buffer_size));
}

static const struct proc_ops procfile_ops = {
	.proc_read = procfile_read,
	.proc_write = procfile_write,
	.proc_lseek = procfile_lseek,
};

static struct proc_dir_entry *procfile;

static int __init procfs2_init(void)
{
	procfile = proc_create(PROCFS_NAME, 0644, NULL, &procfile_ops);
	if (!procfile) {
		pr_err("cannot create /proc/%s\n", PROCFS_NAME);
		return -ENOMEM;
	}
	pr_info("/proc/%s created\n", PROCFS_NAME);
	return 0;
}

static void __exit procfs2_exit(void)
{
	proc_remove(procfile);
	pr_info("/proc/%s removed\n", PROCFS_NAME);
}

module_init(procfs2_init);
module_exit(procfs2_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A file in /proc that can be read and written");
