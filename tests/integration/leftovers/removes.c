// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: a file of the kernel's is gone when it has gone */
#include <linux/module.h>
#include <linux/proc_fs.h>

static int __init fault_init(void)
{
	remove_proc_entry("execdomains", NULL);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: a file of the kernel's is gone when it has gone");
