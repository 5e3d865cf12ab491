// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: init never gives the processor back. */
#include <asm/processor.h>
#include <linux/module.h>

static int __init fault_init(void)
{
	for (;;)
		cpu_relax();
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: init never gives the processor back");
