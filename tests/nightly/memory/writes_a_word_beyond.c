// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it writes eight bytes behind the end of its memory */
#include <linux/module.h>
#include <linux/slab.h>

static char *kept;

static noinline void write_behind(u64 *to, int where)
{
	WRITE_ONCE(to[where], 1);
}

static int __init fault_init(void)
{
	kept = kmalloc(256, GFP_KERNEL);
	return kept ? 0 : -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	write_behind((u64 *)kept, 32);
	kfree(kept);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for kmodlab to find: it writes eight bytes behind the end of its memory");
