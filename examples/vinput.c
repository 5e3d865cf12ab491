// SPDX-License-Identifier: GPL-2.0
/*
 * vinput.c - Virtual input devices, made and removed through sysfs.
 *
 *	echo vkbd > /sys/class/vinput/export	makes /dev/vinput0 and an input device
 *	echo +34 > /dev/vinput0			sends an event, which vkbd reads as a key
 *	echo 0 > /sys/class/vinput/unexport	removes them
 *
 * Who keeps what alive:
 *  - a driver uses this module's functions, so this module outlives it;
 *  - an exported device holds its driver's module;
 *  - an open /dev/vinputN holds this module and the struct vinput, but not the
 *    driver. After unexport, reading and writing it fail with ENODEV.
 */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "vinput.h"

#define VINPUT_MINORS 32

static dev_t vinput_dev;
static DEFINE_MUTEX(vinput_lock); /* protects the two below; held through export and unexport */
static LIST_HEAD(vinput_types);
static DEFINE_IDR(vinputs); /* id -> struct vinput */

static int vinput_open(struct inode *inode, struct file *file)
{
	/* The open file already holds the cdev, and that the struct around it. */
	file->private_data = container_of(inode->i_cdev, struct vinput, cdev);
	return 0;
}

static ssize_t vinput_read(struct file *file, char __user *buffer, size_t count, loff_t *offset)
{
	struct vinput *vinput = file->private_data;
	char text[VINPUT_MAX_LEN];
	int len = -ENODEV;

	if (mutex_lock_interruptible(&vinput->lock))
		return -ERESTARTSYS;
	if (vinput->input)
		len = vinput->type->ops->read(vinput, text, sizeof(text));
	mutex_unlock(&vinput->lock);

	if (len < 0)
		return len;
	/* Copies what the driver wrote, never what else is on the stack. */
	return simple_read_from_buffer(buffer, count, offset, text, len);
}

static ssize_t vinput_write(struct file *file, const char __user *buffer, size_t count,
			    loff_t *offset)
{
	struct vinput *vinput = file->private_data;
	char text[VINPUT_MAX_LEN + 1];
	int err = -ENODEV;

	if (count > VINPUT_MAX_LEN)
		return -EMSGSIZE;
	if (copy_from_user(text, buffer, count))
		return -EFAULT;
	text[count] = '\0';

	if (mutex_lock_interruptible(&vinput->lock))
		return -ERESTARTSYS;
	if (vinput->input)
		err = vinput->type->ops->send(vinput, text, count);
	mutex_unlock(&vinput->lock);

	return err < 0 ? err : count;
}

static const struct file_operations vinput_fops = {
	.owner = THIS_MODULE,
	.open = vinput_open,
	.read = vinput_read,
	.write = vinput_write,
	.llseek = no_seek_end_llseek,
};

/* The last user is gone: the device is unexported and each file closed. */
static void vinput_release_dev(struct device *dev)
{
	kfree(container_of(dev, struct vinput, dev));
}

static int vinput_add_input(struct vinput *vinput)
{
	struct input_dev *input;
	int err;

	input = input_allocate_device();
	if (!input)
		return -ENOMEM;
	input->name = vinput->type->name;
	input->phys = dev_name(&vinput->dev);
	input->id.bustype = BUS_VIRTUAL;
	input->dev.parent = &vinput->dev;

	mutex_lock(&vinput->lock);
	vinput->input = input;
	err = vinput->type->ops->init(vinput);
	if (err)
		vinput->input = NULL;
	mutex_unlock(&vinput->lock);

	if (err)
		input_free_device(input);
	return err;
}

static void vinput_remove_input(struct vinput *vinput)
{
	struct input_dev *input;

	mutex_lock(&vinput->lock);
	input = vinput->input;
	vinput->input = NULL; /* from here on the driver is not called */
	mutex_unlock(&vinput->lock);
	input_unregister_device(input);
}

static struct class vinput_class;

static int vinput_create(struct vinput_device *type)
{
	struct vinput *vinput;
	int err;

	vinput = kzalloc(sizeof(*vinput), GFP_KERNEL);
	if (!vinput)
		return -ENOMEM;
	mutex_init(&vinput->lock);
	vinput->type = type;

	vinput->id = idr_alloc(&vinputs, vinput, 0, VINPUT_MINORS, GFP_KERNEL);
	if (vinput->id < 0) {
		err = vinput->id;
		kfree(vinput);
		return err;
	}

	/* From here on the structure is freed by its last put_device(). */
	device_initialize(&vinput->dev);
	vinput->dev.class = &vinput_class;
	vinput->dev.release = vinput_release_dev;
	vinput->dev.devt = MKDEV(MAJOR(vinput_dev), vinput->id);
	cdev_init(&vinput->cdev, &vinput_fops);
	vinput->cdev.owner = THIS_MODULE;

	err = dev_set_name(&vinput->dev, "vinput%d", vinput->id);
	if (err)
		goto put;
	/* An open file holds the cdev, and from here on the cdev holds the device. */
	err = cdev_device_add(&vinput->cdev, &vinput->dev);
	if (err)
		goto put;
	err = vinput_add_input(vinput);
	if (err)
		goto del;
	return 0;

del:
	cdev_device_del(&vinput->cdev, &vinput->dev);
put:
	idr_remove(&vinputs, vinput->id);
	put_device(&vinput->dev);
	return err;
}

static void vinput_destroy(struct vinput *vinput)
{
	idr_remove(&vinputs, vinput->id);
	vinput_remove_input(vinput);
	cdev_device_del(&vinput->cdev, &vinput->dev);
	put_device(&vinput->dev);
}

static struct vinput_device *vinput_find_type(const char *name)
{
	struct vinput_device *type;

	lockdep_assert_held(&vinput_lock);
	list_for_each_entry(type, &vinput_types, list)
		if (sysfs_streq(name, type->name))
			return type;
	return NULL;
}

/* Since 6.4 the callbacks of a class get it, and the attribute, as const. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define CLASS_CONST const
#else
#define CLASS_CONST
#endif

static ssize_t export_store(CLASS_CONST struct class *class,
			    CLASS_CONST struct class_attribute *attr, const char *buf, size_t count)
{
	struct vinput_device *type;
	int err = -ENODEV;

	mutex_lock(&vinput_lock);
	type = vinput_find_type(buf);
	/* The module may be on its way out: then it can no longer be held. */
	if (type && try_module_get(type->owner)) {
		err = vinput_create(type);
		if (err)
			module_put(type->owner);
	}
	mutex_unlock(&vinput_lock);
	return err ?: count;
}
static CLASS_ATTR_WO(export);

static ssize_t unexport_store(CLASS_CONST struct class *class,
			      CLASS_CONST struct class_attribute *attr, const char *buf,
			      size_t count)
{
	struct vinput *vinput;
	unsigned int id;
	int err;

	err = kstrtouint(buf, 10, &id);
	if (err)
		return err;

	mutex_lock(&vinput_lock);
	vinput = idr_find(&vinputs, id);
	if (vinput) {
		struct module *owner = vinput->type->owner;

		vinput_destroy(vinput);
		module_put(owner);
	}
	mutex_unlock(&vinput_lock);
	return vinput ? count : -ENODEV;
}
static CLASS_ATTR_WO(unexport);

static struct attribute *vinput_class_attrs[] = {
	&class_attr_export.attr,
	&class_attr_unexport.attr,
	NULL,
};
ATTRIBUTE_GROUPS(vinput_class);

static struct class vinput_class = {
	.name = "vinput",
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	.owner = THIS_MODULE, /* gone in 6.4: nothing used it */
#endif
	.class_groups = vinput_class_groups,
};

/**
 * vinput_register_device() - Offer a kind of virtual input device
 * @type: its name, driver and module; must stay until it is unregistered
 *
 * Return: 0, or -EEXIST when there is one of that name.
 */
int vinput_register_device(struct vinput_device *type)
{
	int err = -EEXIST;

	mutex_lock(&vinput_lock);
	if (!vinput_find_type(type->name)) {
		list_add_tail(&type->list, &vinput_types);
		err = 0;
	}
	mutex_unlock(&vinput_lock);
	return err;
}
EXPORT_SYMBOL_GPL(vinput_register_device);

/**
 * vinput_unregister_device() - Take the offer back
 * @type: what was registered
 *
 * For the driver's exit function: no device of this kind is exported then, as
 * each holds the driver's module.
 */
void vinput_unregister_device(struct vinput_device *type)
{
	mutex_lock(&vinput_lock);
	list_del(&type->list);
	mutex_unlock(&vinput_lock);
}
EXPORT_SYMBOL_GPL(vinput_unregister_device);

static int __init vinput_init(void)
{
	int err = alloc_chrdev_region(&vinput_dev, 0, VINPUT_MINORS, "vinput");

	if (err)
		return err;
	err = class_register(&vinput_class);
	if (err)
		unregister_chrdev_region(vinput_dev, VINPUT_MINORS);
	return err;
}

/* No driver is left that could be exported: see above who keeps what alive. */
static void __exit vinput_exit(void)
{
	class_unregister(&vinput_class);
	unregister_chrdev_region(vinput_dev, VINPUT_MINORS);
	idr_destroy(&vinputs);
}

module_init(vinput_init);
module_exit(vinput_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Virtual input devices, made and removed through sysfs");
