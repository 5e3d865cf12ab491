// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: init sleeps for ever. */
#include <linux/completion.h>
#include <linux/module.h>

static DECLARE_COMPLETION(never);

static int __init fault_init(void)
{
	wait_for_completion(&never);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: init sleeps for ever");
