// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: each load loses a page. */
#include <linux/gfp.h>
#include <linux/module.h>

static int __init fault_init(void)
{
	return alloc_page(GFP_KERNEL) ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: each load loses a page");
