// SPDX-License-Identifier: GPL-2.0
/* The first of a pair: exit leaves a folder in /proc that the other one needs for itself */
#include <linux/module.h>
#include <linux/proc_fs.h>

static int __init fault_init(void)
{
	return proc_mkdir("one_for_two", NULL) ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"The first of a pair: exit leaves a folder in /proc that the other one needs for itself");
