// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a file in /proc. */
#include <linux/module.h>
#include <linux/proc_fs.h>

static const struct proc_ops litter_ops;

static int __init fault_init(void)
{
	return proc_create("litter", 0444, NULL, &litter_ops) ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a file in /proc");
