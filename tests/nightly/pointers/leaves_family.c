// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a family of generic netlink */
#include <linux/module.h>
#include <net/genetlink.h>

static struct genl_family family = {
	.name = KBUILD_MODNAME,
	.version = 1,
	.module = THIS_MODULE,
};

static int __init fault_init(void)
{
	return genl_register_family(&family);
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a family of generic netlink");
