// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it loses a text that the kernel copied for it */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

static char *kept;

static int __init fault_init(void)
{
	kept = kstrdup("a text that is copied", GFP_KERNEL);
	return kept ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it loses a text that the kernel copied for it");
