// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it can be loaded, and has no exit. */
#include <linux/module.h>

static int __init fault_init(void)
{
	return 0;
}
module_init(fault_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it can be loaded, and has no exit");
