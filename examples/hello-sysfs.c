// SPDX-License-Identifier: GPL-2.0
/*
 * hello-sysfs.c - A variable that can be read and set through sysfs.
 *
 *	cat /sys/kernel/mymodule/myvariable
 *	echo 32 > /sys/kernel/mymodule/myvariable
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/sysfs.h>
#include <linux/types.h>

static int myvariable;

/* @buf has room for a page; sysfs_emit() (since 5.10) knows that. */
static ssize_t myvariable_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(myvariable));
}

/* @buf ends in a NUL, and kstrtoint() allows for the newline that echo adds. */
static ssize_t myvariable_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
				size_t count)
{
	int value;
	int err = kstrtoint(buf, 10, &value);

	if (err)
		return err;
	WRITE_ONCE(myvariable, value);
	return count;
}

/* Names the file and its permissions, and finds the two functions by their names. */
static struct kobj_attribute myvariable_attribute = __ATTR_RW(myvariable);

/* A kobject is a folder in sysfs, its attributes are the files in it. */
static struct kobject *mymodule;

static int __init hello_sysfs_init(void)
{
	int err;

	mymodule = kobject_create_and_add("mymodule", kernel_kobj);
	if (!mymodule)
		return -ENOMEM;

	err = sysfs_create_file(mymodule, &myvariable_attribute.attr);
	if (err) {
		pr_err("cannot create /sys/kernel/mymodule/myvariable: %d\n", err);
		kobject_put(mymodule);
		return err;
	}
	pr_info("initialised\n");
	return 0;
}

static void __exit hello_sysfs_exit(void)
{
	/*
	 * The folder and its files go now, and who is in a function of theirs
	 * is waited for. kobject_put() alone would do that with the last
	 * reference, whenever that is given back.
	 */
	kobject_del(mymodule);
	kobject_put(mymodule);
	pr_info("removed\n");
}

module_init(hello_sysfs_init);
module_exit(hello_sysfs_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A variable in sysfs");
