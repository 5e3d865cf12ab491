// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: its licence is not free. */
#include <linux/module.h>

static int __init fault_init(void)
{
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("Proprietary");
MODULE_DESCRIPTION("A fault for kmodlab to find: its licence is not free");
