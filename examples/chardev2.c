// SPDX-License-Identifier: GPL-2.0
/*
 * chardev2.c - A character device, /dev/char_dev, that keeps a message.
 *
 * It can be read and written, or asked by ioctl; other/userspace_ioctl.c does
 * that. The commands are in chardev.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#include "chardev.h"

/* One opener at a time, as in chardev.c. */
enum {
	CDEV_NOT_USED,
	CDEV_EXCLUSIVE_OPEN,
};

static atomic_t already_open = ATOMIC_INIT(CDEV_NOT_USED);

/*
 * One opener may still be many tasks: its threads, and its children after
 * fork(), share the open file. So the message needs a lock as well.
 */
static DEFINE_MUTEX(message_lock);
static char message[MSG_SIZE];
static size_t message_len; /* without the NUL */

static int device_open(struct inode *inode, struct file *file)
{
	if (atomic_cmpxchg(&already_open, CDEV_NOT_USED, CDEV_EXCLUSIVE_OPEN) != CDEV_NOT_USED)
		return -EBUSY;
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	atomic_set_release(&already_open, CDEV_NOT_USED); /* see chardev.c */
	return 0;
}

/*
 * The message, with its NUL, into @text of MSG_SIZE bytes; returns its length.
 * A copy to user space may take as long as the user likes (the memory may be a
 * file's, or be served by another program), so none is made with the lock held:
 * it is free within moments, and waiting for it need not be interruptible.
 */
static size_t get_message(char *text)
{
	size_t len;

	mutex_lock(&message_lock);
	len = message_len;
	memcpy(text, message, len + 1);
	mutex_unlock(&message_lock);
	return len;
}

static ssize_t device_read(struct file *file, char __user *buffer, size_t length, loff_t *offset)
{
	char text[MSG_SIZE];
	size_t len = get_message(text);

	return simple_read_from_buffer(buffer, length, offset, text, len);
}

/* A message is replaced as a whole, and only if all of the new one is there. */
static void set_message(const char *text, size_t len)
{
	mutex_lock(&message_lock);
	memcpy(message, text, len);
	message[len] = '\0';
	WRITE_ONCE(message_len, len); /* device_llseek() reads it without the lock */
	mutex_unlock(&message_lock);
}

static ssize_t device_write(struct file *file, const char __user *buffer, size_t length,
			    loff_t *offset)
{
	char text[MSG_SIZE];

	if (length >= MSG_SIZE)
		return -EMSGSIZE;
	if (copy_from_user(text, buffer, length))
		return -EFAULT;
	set_message(text, length);
	return length;
}

static long ioctl_set_msg(const char __user *user)
{
	char text[MSG_SIZE];
	long len = strncpy_from_user(text, user, sizeof(text));

	if (len < 0)
		return len;
	if (len == sizeof(text)) /* no NUL so far */
		return -EMSGSIZE;
	set_message(text, len);
	return 0;
}

/* As many bytes as the message has, and not one that lies behind it. */
static long ioctl_get_msg(char __user *user)
{
	char text[MSG_SIZE];
	size_t len = get_message(text);

	return copy_to_user(user, text, len + 1) ? -EFAULT : 0;
}

/* The index comes from a program: without the check this would read any byte of the kernel. */
static long ioctl_get_nth_byte(unsigned long index)
{
	char text[MSG_SIZE];
	size_t len = get_message(text);

	return index <= len ? (unsigned char)text[index] : -EINVAL;
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case IOCTL_SET_MSG:
		return ioctl_set_msg((const char __user *)arg);
	case IOCTL_GET_MSG:
		return ioctl_get_msg((char __user *)arg);
	case IOCTL_GET_NTH_BYTE:
		return ioctl_get_nth_byte(arg);
	default:
		return -ENOTTY;
	}
}

static loff_t device_llseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, READ_ONCE(message_len));
}

static const struct file_operations chardev2_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.read = device_read,
	.write = device_write,
	.llseek = device_llseek,
	.unlocked_ioctl = device_ioctl,
};

static struct class chardev2_class = {
	.name = DEVICE_FILE_NAME,
};

static int __init chardev2_init(void)
{
	struct device *device;
	int err;

	err = class_register(&chardev2_class);
	if (err)
		return err;

	device = device_create(&chardev2_class, NULL, MKDEV(MAJOR_NUM, 0), NULL, DEVICE_FILE_NAME);
	if (IS_ERR(device)) {
		err = PTR_ERR(device);
		goto unregister_class;
	}

	/*
	 * The commands are made from the major number, so ask for this one. From
	 * here on the device can be opened, so this is the last that can fail.
	 */
	err = register_chrdev(MAJOR_NUM, DEVICE_FILE_NAME, &chardev2_fops);
	if (err) {
		pr_err("cannot register major number %d: %d\n", MAJOR_NUM, err);
		goto destroy_device;
	}
	pr_info("device created on %s\n", DEVICE_PATH);
	return 0;

destroy_device:
	device_destroy(&chardev2_class, MKDEV(MAJOR_NUM, 0));
unregister_class:
	class_unregister(&chardev2_class);
	return err;
}

static void __exit chardev2_exit(void)
{
	unregister_chrdev(MAJOR_NUM, DEVICE_FILE_NAME);
	device_destroy(&chardev2_class, MKDEV(MAJOR_NUM, 0));
	class_unregister(&chardev2_class);
	pr_info("device removed\n");
}

module_init(chardev2_init);
module_exit(chardev2_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A character device that keeps a message");
