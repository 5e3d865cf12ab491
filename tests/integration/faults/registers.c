// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a character device's number, which has no file anywhere. */
#include <linux/fs.h>
#include <linux/module.h>

static const struct file_operations registers_ops;

static int __init fault_init(void)
{
	int major = register_chrdev(0, "registers", &registers_ops);

	return major < 0 ? major : 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a character device's number");
