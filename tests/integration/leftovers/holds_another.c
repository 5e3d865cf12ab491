// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves another module in use */
#include <linux/module.h>
#include <net/net_failover.h>

static int __init fault_init(void)
{
	return symbol_get(net_failover_create) ? 0 : -ENOENT;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves another module in use");
