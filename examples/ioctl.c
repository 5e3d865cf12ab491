// SPDX-License-Identifier: GPL-2.0
/*
 * ioctl.c - A character device, /dev/ioctltest, with a value that is set and got by ioctl.
 *
 * Each open file has a value of its own. The device is registered in the newer
 * way, with a struct cdev: it takes the minor numbers that it needs, and not
 * all 256 of a major number, as register_chrdev() does.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/cdev.h>
#include <linux/compat.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/ioctl.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#define DEVICE_NAME "ioctltest"

/*
 * The commands. A number holds who it belongs to, which command it is, and the
 * direction and size of the data, as seen by the user: _IOW writes to the
 * device. Where the argument is a number itself and points to no data, it is
 * _IO. A program needs the same definitions; see chardev.h for a header that
 * both include.
 *
 * The book takes 'f'. That is the file systems' own, and the kernel answers some
 * of its commands before it asks a device: a 32-bit program's IOCTL_VALGET came
 * here as another number. Documentation/userspace-api/ioctl/ioctl-number.rst
 * shows what is taken.
 */
struct ioctl_arg {
	__u32 val;
};

#define IOC_MAGIC 0xEA
#define IOCTL_VALSET _IOW(IOC_MAGIC, 0, struct ioctl_arg) /* the argument points to a structure */
#define IOCTL_VALGET _IOR(IOC_MAGIC, 1, struct ioctl_arg)
#define IOCTL_VALGET_NUM _IOR(IOC_MAGIC, 2, int) /* the argument points to a number */
#define IOCTL_VALSET_NUM _IO(IOC_MAGIC, 3)	 /* the argument is the number */

/* One for each open file. Threads may share the file, so the value is atomic. */
struct test_ioctl_data {
	atomic_t val;
};

static int test_ioctl_open(struct inode *inode, struct file *file)
{
	struct test_ioctl_data *data = kzalloc(sizeof(*data), GFP_KERNEL);

	if (!data)
		return -ENOMEM;
	file->private_data = data;
	return 0;
}

static int test_ioctl_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static long test_ioctl_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct test_ioctl_data *data = file->private_data;
	void __user *user = (void __user *)arg;
	struct ioctl_arg structure = {}; /* no byte of the stack may reach the user */

	switch (cmd) {
	case IOCTL_VALSET:
		if (copy_from_user(&structure, user, sizeof(structure)))
			return -EFAULT;
		atomic_set(&data->val, structure.val);
		return 0;
	case IOCTL_VALGET:
		structure.val = atomic_read(&data->val);
		return copy_to_user(user, &structure, sizeof(structure)) ? -EFAULT : 0;
	case IOCTL_VALGET_NUM:
		return put_user(atomic_read(&data->val), (int __user *)user);
	case IOCTL_VALSET_NUM:
		atomic_set(&data->val, arg);
		return 0;
	default:
		return -ENOTTY; /* "not a typewriter": the answer to any unknown command */
	}
}

/*
 * For 32-bit programs on a 64-bit kernel. Their pointers may have to be made
 * into ours; a number is a number. If all arguments were pointers,
 * compat_ptr_ioctl would do.
 */
#ifdef CONFIG_COMPAT
static long test_ioctl_compat_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd != IOCTL_VALSET_NUM)
		arg = (unsigned long)compat_ptr(arg);
	return test_ioctl_ioctl(file, cmd, arg);
}
#endif

static ssize_t test_ioctl_read(struct file *file, char __user *buffer, size_t length,
			       loff_t *offset)
{
	struct test_ioctl_data *data = file->private_data;
	char text[16];
	int len = scnprintf(text, sizeof(text), "%u\n", (unsigned int)atomic_read(&data->val));

	return simple_read_from_buffer(buffer, length, offset, text, len);
}

static const struct file_operations test_ioctl_fops = {
	.owner = THIS_MODULE,
	.open = test_ioctl_open,
	.release = test_ioctl_release,
	.read = test_ioctl_read,
	.llseek = no_seek_end_llseek,
	.unlocked_ioctl = test_ioctl_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl = test_ioctl_compat_ioctl,
#endif
};

static dev_t test_ioctl_dev;
static struct cdev test_ioctl_cdev;

/*
 * A class that the module keeps itself, unlike chardev.c. class_create() took
 * another argument before 6.4; class_register() is the same on all kernels.
 */
static struct class test_ioctl_class = {
	.name = DEVICE_NAME,
};

static int __init test_ioctl_init(void)
{
	struct device *device;
	int err;

	err = alloc_chrdev_region(&test_ioctl_dev, 0, 1, DEVICE_NAME);
	if (err)
		return err;

	err = class_register(&test_ioctl_class);
	if (err)
		goto unregister_region;

	device = device_create(&test_ioctl_class, NULL, test_ioctl_dev, NULL, DEVICE_NAME);
	if (IS_ERR(device)) {
		err = PTR_ERR(device);
		goto unregister_class;
	}

	/*
	 * From here on the device can be opened: all it needs must be there, and
	 * nothing that can fail may follow, for a module whose init function
	 * fails is freed, openers or not.
	 */
	cdev_init(&test_ioctl_cdev, &test_ioctl_fops);
	test_ioctl_cdev.owner = THIS_MODULE;
	err = cdev_add(&test_ioctl_cdev, test_ioctl_dev, 1);
	if (err)
		goto destroy_device;

	pr_info("/dev/%s created, major number %d\n", DEVICE_NAME, MAJOR(test_ioctl_dev));
	return 0;

destroy_device:
	device_destroy(&test_ioctl_class, test_ioctl_dev);
unregister_class:
	class_unregister(&test_ioctl_class);
unregister_region:
	unregister_chrdev_region(test_ioctl_dev, 1);
	return err;
}

static void __exit test_ioctl_exit(void)
{
	cdev_del(&test_ioctl_cdev);
	device_destroy(&test_ioctl_class, test_ioctl_dev);
	class_unregister(&test_ioctl_class);
	unregister_chrdev_region(test_ioctl_dev, 1);
	pr_info("/dev/%s removed\n", DEVICE_NAME);
}

module_init(test_ioctl_init);
module_exit(test_ioctl_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A character device that is controlled by ioctl");
