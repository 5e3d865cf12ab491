// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a character device without its number */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/module.h>

static const struct file_operations operations = { .owner = THIS_MODULE };
static struct cdev device;
static dev_t number;

static int __init fault_init(void)
{
	int result = alloc_chrdev_region(&number, 0, 1, KBUILD_MODNAME);

	if (result)
		return result;
	cdev_init(&device, &operations);
	return cdev_add(&device, number, 1);
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	unregister_chrdev_region(number, 1);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for kmodlab to find: exit leaves a character device without its number");
