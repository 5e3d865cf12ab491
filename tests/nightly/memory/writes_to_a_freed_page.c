// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it writes to a page that it has given back */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>

static unsigned long kept;

static noinline void write_late(volatile char *to)
{
	to[20] = 1;
}

static int __init fault_init(void)
{
	kept = __get_free_page(GFP_KERNEL);
	return kept ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	free_page(kept);
	write_late((char *)READ_ONCE(kept));
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it writes to a page that it has given back");
