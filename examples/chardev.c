// SPDX-License-Identifier: GPL-2.0
/*
 * chardev.c - A character device, /dev/chardev, that counts how often it was opened.
 *
 *	cat /dev/chardev
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/types.h>
#include <linux/version.h>

#define DEVICE_NAME "chardev"

/* One opener at a time: the state of the device. */
enum {
	CDEV_NOT_USED,
	CDEV_EXCLUSIVE_OPEN,
};

static atomic_t already_open = ATOMIC_INIT(CDEV_NOT_USED);

/* What the present opener reads. Only open changes it, and only one open succeeds. */
static char message[80];
static int message_len;

static int major; /* tells the kernel which driver a device file belongs to */
static struct class *cls;

static int device_open(struct inode *inode, struct file *file)
{
	static unsigned int counter;

	/*
	 * Compare and swap, in one step that no other CPU can come between:
	 * of any number of openers only one finds CDEV_NOT_USED.
	 */
	if (atomic_cmpxchg(&already_open, CDEV_NOT_USED, CDEV_EXCLUSIVE_OPEN) != CDEV_NOT_USED)
		return -EBUSY;

	message_len = scnprintf(message, sizeof(message),
				"I already told you %u times Hello world!\n", counter++);
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	/*
	 * Release order: whoever finds CDEV_NOT_USED also finds all that was
	 * written before, the count and the message. The cmpxchg in open is the
	 * other half of the pair. atomic_set() promises nothing of the kind.
	 */
	atomic_set_release(&already_open, CDEV_NOT_USED);
	return 0;
}

static ssize_t device_read(struct file *file, char __user *buffer, size_t length, loff_t *offset)
{
	/*
	 * A reader may ask for any number of bytes and gets what is left of the
	 * message from its position on; in the end 0, which means end of file.
	 * The buffer is in user space, so it cannot be written to directly: it
	 * may not be there, or not be the reader's. This helper sees to it all.
	 */
	return simple_read_from_buffer(buffer, length, offset, message, message_len);
}

static loff_t device_llseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, message_len);
}

static ssize_t device_write(struct file *file, const char __user *buffer, size_t length,
			    loff_t *offset)
{
	pr_info_ratelimited("sorry, writing is not supported\n");
	return -EINVAL;
}

/*
 * The kernel counts openers in the owner, so that the module cannot go while
 * its functions may still be called.
 */
static const struct file_operations chardev_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.read = device_read,
	.write = device_write,
	.llseek = device_llseek,
};

static int __init chardev_init(void)
{
	struct device *device;

	/* Since 6.4 a class does not need to know its module. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	cls = class_create(DEVICE_NAME);
#else
	cls = class_create(THIS_MODULE, DEVICE_NAME);
#endif
	if (IS_ERR(cls))
		return PTR_ERR(cls);

	/*
	 * 0: any major number that is free. /proc/devices shows it. From here on
	 * the device can be opened. So this comes last of what can fail: a
	 * module whose init function fails is freed, openers or not.
	 */
	major = register_chrdev(0, DEVICE_NAME, &chardev_fops);
	if (major < 0) {
		pr_err("cannot register a major number: %d\n", major);
		class_destroy(cls);
		return major;
	}
	pr_info("I was assigned major number %d\n", major);

	/* Makes /dev/chardev. Without it the device works, but takes a mknod by hand. */
	device = device_create(cls, NULL, MKDEV(major, 0), NULL, DEVICE_NAME);
	if (IS_ERR(device))
		pr_warn("cannot create /dev/%s: %pe\n", DEVICE_NAME, device);
	else
		pr_info("device created on /dev/%s\n", DEVICE_NAME);
	return 0;
}

static void __exit chardev_exit(void)
{
	/* Undo what was done, in the opposite order. */
	device_destroy(cls, MKDEV(major, 0));
	unregister_chrdev(major, DEVICE_NAME);
	class_destroy(cls);
	pr_info("device removed\n");
}

module_init(chardev_init);
module_exit(chardev_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A character device that one process at a time can read");
