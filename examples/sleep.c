// SPDX-License-Identifier: GPL-2.0
/*
 * sleep.c - A file that one process at a time can open: /proc/sleep. The others sleep.
 *
 *	tail -f /proc/sleep &		keeps the file open
 *	cat /proc/sleep			sleeps until tail is gone, or until Ctrl-C
 *	cat_nonblock /proc/sleep	"Open would block" (other/cat_nonblock.c)
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/proc_fs.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define PROC_ENTRY_FILENAME "sleep"
#define MESSAGE_LENGTH 80

/* The queue of tasks that want the file. */
static DECLARE_WAIT_QUEUE_HEAD(waitq);
static atomic_t already_open = ATOMIC_INIT(0);

/* One opener may be several threads, so the message has a lock. */
static DEFINE_MUTEX(message_lock);
static char message[MESSAGE_LENGTH];

/* The two that touch the message: their callers hold its lock. */
static int show_message(char *text, size_t size)
{
	lockdep_assert_held(&message_lock);
	return scnprintf(text, size, "Last input:%s\n", message);
}

static void set_message(const char *text)
{
	lockdep_assert_held(&message_lock);
	strscpy(message, text, sizeof(message));
}

static ssize_t module_output(struct file *file, char __user *buffer, size_t length, loff_t *offset)
{
	char text[sizeof("Last input:\n") + MESSAGE_LENGTH];
	int len;

	if (mutex_lock_interruptible(&message_lock))
		return -ERESTARTSYS;
	len = show_message(text, sizeof(text));
	mutex_unlock(&message_lock);
	return simple_read_from_buffer(buffer, length, offset, text, len);
}

static ssize_t module_input(struct file *file, const char __user *buffer, size_t length,
			    loff_t *offset)
{
	char text[MESSAGE_LENGTH];

	if (length >= sizeof(text))
		return -EMSGSIZE;
	if (copy_from_user(text, buffer, length))
		return -EFAULT;
	text[length] = '\0';
	if (length && text[length - 1] == '\n') /* of echo */
		text[length - 1] = '\0';

	if (mutex_lock_interruptible(&message_lock))
		return -ERESTARTSYS;
	set_message(text);
	mutex_unlock(&message_lock);
	return length;
}

/* From 0 to 1, in one step: only one of any number of callers succeeds. */
static bool try_take(void)
{
	return atomic_cmpxchg(&already_open, 0, 1) == 0;
}

static int module_open(struct inode *inode, struct file *file)
{
	int err = 0;

	/*
	 * /proc does not count openers, and rmmod would wait for the sleepers,
	 * which nothing would wake. So who has the file or sleeps for it holds
	 * the module, and rmmod is refused.
	 */
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;

	if (!try_take()) {
		if (file->f_flags & O_NONBLOCK) {
			err = -EAGAIN;
		} else if (wait_event_interruptible(waitq, try_take())) {
			/*
			 * Awake, but not for what it waited for: there is a
			 * signal. Return, so that the task can handle it.
			 * wait_event() would not: its sleepers ignore Ctrl-C.
			 *
			 * The book says -EINTR. This is better: the kernel
			 * calls us again where the program need not know, after
			 * Ctrl-Z and fg or a handler with SA_RESTART, and makes
			 * it EINTR where a handler without that flag has run.
			 */
			err = -ERESTARTSYS;
		}
	}

	if (err)
		module_put(THIS_MODULE);
	return err;
}

static int module_close(struct inode *inode, struct file *file)
{
	atomic_set_release(&already_open, 0); /* see chardev.c */

	/* All of them: each tries to take the file, and all but one sleep again. */
	wake_up(&waitq);

	/* The last thing: from now on the module may go, once this returns. */
	module_put(THIS_MODULE);
	return 0;
}

static const struct proc_ops sleep_proc_ops = {
	.proc_open = module_open,
	.proc_release = module_close,
	.proc_read = module_output,
	.proc_write = module_input,
	/* There is no telling where it ends; default_llseek would say at 0, and tail believe it. */
	.proc_lseek = no_seek_end_llseek,
};

static struct proc_dir_entry *procfile;

static int __init sleep_init(void)
{
	procfile = proc_create(PROC_ENTRY_FILENAME, 0644, NULL, &sleep_proc_ops);
	if (!procfile) {
		pr_err("cannot create /proc/%s\n", PROC_ENTRY_FILENAME);
		return -ENOMEM;
	}
	pr_info("/proc/%s created\n", PROC_ENTRY_FILENAME);
	return 0;
}

static void __exit sleep_exit(void)
{
	proc_remove(procfile);
	pr_info("/proc/%s removed\n", PROC_ENTRY_FILENAME);
}

module_init(sleep_init);
module_exit(sleep_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A file that makes its second opener sleep");
