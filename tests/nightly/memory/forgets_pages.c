// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it loses pages of vmalloc */
#include <linux/module.h>
#include <linux/vmalloc.h>

static void *kept;

static int __init fault_init(void)
{
	kept = vmalloc(3 * PAGE_SIZE);
	return kept ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it loses pages of vmalloc");
