// SPDX-License-Identifier: GPL-2.0
/* A fault for the debug kernel to find: a number is shifted by more bits than it has. */
#include <linux/module.h>

static int __init fault_init(void)
{
	volatile int bits = 40;

	pr_info("shifted: %d\n", 1 << bits);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for the debug kernel to find: a number is shifted by more bits than it has");
