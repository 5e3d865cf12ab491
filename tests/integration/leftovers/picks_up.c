// SPDX-License-Identifier: GPL-2.0
/* No fault at all: its folder in /proc has a name that another module has left */
#include <linux/module.h>
#include <linux/proc_fs.h>

static int __init fault_init(void)
{
	return proc_mkdir("one_for_two", NULL) ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	remove_proc_entry("one_for_two", NULL);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No fault at all: its folder in /proc has a name that another module has left");
