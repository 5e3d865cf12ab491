// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves what is done for each network namespace */
#include <linux/module.h>
#include <net/net_namespace.h>

static int __net_init begin(struct net *net)
{
	return 0;
}

static struct pernet_operations operations = { .init = begin };

static int __init fault_init(void)
{
	return register_pernet_subsys(&operations);
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for kmodlab to find: exit leaves what is done for each network namespace");
