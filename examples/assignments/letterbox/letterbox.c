// SPDX-License-Identifier: GPL-2.0
/*
 * letterbox.c - A character device, /dev/letterbox, that keeps one letter.
 *
 *	echo hello >/dev/letterbox
 *	cat /dev/letterbox
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#define LETTER_MAX 256 /* bytes of the longest letter */

/* TODO 1: What the box has to keep: the letter, and whether somebody has the box open. */
static atomic_t in_use = ATOMIC_INIT(0); /* 1 while somebody has the box open */

static DEFINE_MUTEX(letter_lock); /* for all that follows */
static char *letter;		  /* NULL: no letter yet */
static size_t letter_size;
/* TODO 1 ends */

static int letterbox_open(struct inode *inode, struct file *file)
{
	/*
	 * TODO 2: One opener at a time. Whoever finds the box in use gets -EBUSY; of two who come at
	 * the same moment only one may find it free.
	 */
	if (atomic_cmpxchg(&in_use, 0, 1) != 0)
		return -EBUSY;
	/* TODO 2 ends */
	return 0;
}

static int letterbox_release(struct inode *inode, struct file *file)
{
	/* TODO 3: The next opener may come. */
	atomic_set_release(&in_use, 0);
	/* TODO 3 ends */
	return 0;
}

static ssize_t letterbox_read(struct file *file, char __user *buffer, size_t length, loff_t *offset)
{
	/*
	 * TODO 4: Give the reader what is left of the letter from *offset on, at most length bytes, and
	 * move *offset. At its end, and where there is no letter, there is nothing: return 0. A buffer
	 * that is not the reader's is -EFAULT.
	 */
	/* SKELETON: return 0; */
	ssize_t given;

	mutex_lock(&letter_lock);
	given = simple_read_from_buffer(buffer, length, offset, letter, letter_size);
	mutex_unlock(&letter_lock);
	return given;
	/* TODO 4 ends */
}

static ssize_t letterbox_write(struct file *file, const char __user *buffer, size_t length,
			       loff_t *offset)
{
	/*
	 * TODO 5: What is written is the new letter, all of it: the old one goes. One longer than
	 * LETTER_MAX is -EMSGSIZE, a buffer that cannot be read is -EFAULT; then the old letter stays.
	 */
	/* SKELETON: return length; */
	char *text;

	if (length > LETTER_MAX)
		return -EMSGSIZE;
	text = memdup_user(buffer, length);
	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&letter_lock);
	swap(letter, text);
	letter_size = length;
	mutex_unlock(&letter_lock);
	kfree(text);
	return length;
	/* TODO 5 ends */
}

/* The kernel counts openers in the owner, so that the module cannot go while the box is open. */
static const struct file_operations letterbox_fops = {
	.owner = THIS_MODULE,
	.open = letterbox_open,
	.release = letterbox_release,
	.read = letterbox_read,
	.write = letterbox_write,
};

static struct miscdevice letterbox = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "letterbox",
	.fops = &letterbox_fops,
	.mode = 0666,
};

static int __init letterbox_init(void)
{
	int err = misc_register(&letterbox);

	if (err)
		return err;
	pr_info("/dev/letterbox is open\n");
	return 0;
}

static void __exit letterbox_exit(void)
{
	misc_deregister(&letterbox);
	/* TODO 6: Nothing may be left of the last letter. */
	kfree(letter);
	/* TODO 6 ends */
	pr_info("/dev/letterbox is closed\n");
}

module_init(letterbox_init);
module_exit(letterbox_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A character device that keeps one letter");
