// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it fails to load, and leaves a folder in /proc */
#include <linux/module.h>
#include <linux/proc_fs.h>

static int __init fault_init(void)
{
	proc_mkdir("left_by_failure", NULL);
	return -ENODEV;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it fails to load, and leaves a folder in /proc");
