// SPDX-License-Identifier: GPL-2.0
/*
 * chardev2.c - A character device, /dev/char_dev, that keeps a message.
 *
 * It can be read and written, or asked by ioctl; other/userspace_ioctl.c does
 * that. The commands are in chardev.h.
 */
#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>

#include "chardev.h"

/* One opener at a time, as in chardev.c. */
enum { CDEV_NOT_USED, CDEV_EXCLUSIVE_OPEN };
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
	atomic_set(&already_open, CDEV_NOT_USED);
	return 0;
}

static ssize_t device_read(struct file *file, char __user *buffer, size_t length, loff_t *offset)
{
	ssize_t ret;

	if (mutex_lock_interruptible(&message_lock))
		return -ERESTARTSYS;
	ret = simple_read_from_buffer(buffer, length, offset, message, message_len);
	mutex_unlock(&message_lock);
	return ret;
}

/* A message is replaced as a whole, and only if all of the new one is there. */
static void set_message(const char *text, size_t len)
{
	mutex_lock(&message_lock);
	memcpy(message, text, len);
	message[len] = '\0';
	message_len = len;
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
	long ret;

	mutex_lock(&message_lock);
	ret = copy_to_user(user, message, message_len + 1) ? -EFAULT : 0;
	mutex_unlock(&message_lock);
	return ret;
}

/* The index comes from a program: without the check this would read any byte of the kernel. */
static long ioctl_get_nth_byte(unsigned long index)
{
	long ret = -EINVAL;

	mutex_lock(&message_lock);
	if (index <= message_len)
		ret = (unsigned char)message[index];
	mutex_unlock(&message_lock);
	return ret;
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

	/* The commands are made from the major number, so ask for this one. */
	err = register_chrdev(MAJOR_NUM, DEVICE_FILE_NAME, &chardev2_fops);
	if (err) {
		pr_err("chardev2: cannot register major number %d: %d\n", MAJOR_NUM, err);
		return err;
	}

	err = class_register(&chardev2_class);
	if (err)
		goto unregister_chrdev;

	device = device_create(&chardev2_class, NULL, MKDEV(MAJOR_NUM, 0), NULL, DEVICE_FILE_NAME);
	if (IS_ERR(device)) {
		err = PTR_ERR(device);
		goto unregister_class;
	}
	pr_info("chardev2: device created on %s\n", DEVICE_PATH);
	return 0;

unregister_class:
	class_unregister(&chardev2_class);
unregister_chrdev:
	unregister_chrdev(MAJOR_NUM, DEVICE_FILE_NAME);
	return err;
}

static void __exit chardev2_exit(void)
{
	device_destroy(&chardev2_class, MKDEV(MAJOR_NUM, 0));
	class_unregister(&chardev2_class);
	unregister_chrdev(MAJOR_NUM, DEVICE_FILE_NAME);
	pr_info("chardev2: device removed\n");
}

module_init(chardev2_init);
module_exit(chardev2_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A character device that keeps a message");
