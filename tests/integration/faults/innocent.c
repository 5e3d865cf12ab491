// SPDX-License-Identifier: GPL-2.0
/* No fault at all, for kmodlab to find innocent among the faulty. */
#include <linux/module.h>

static int __init fault_init(void)
{
	pr_info("innocent\n");
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No fault at all, for kmodlab to find innocent among the faulty");
