// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it writes to memory that it has freed */
#include <linux/module.h>
#include <linux/slab.h>

static char *kept;

/* Not inlined, and by a pointer that the compiler does not know to be freed. */
static noinline void write_late(volatile char *to)
{
	to[20] = 1;
}

static int __init fault_init(void)
{
	kept = kmalloc(100, GFP_KERNEL);
	return kept ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	kfree(kept);
	write_late(READ_ONCE(kept));
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it writes to memory that it has freed");
