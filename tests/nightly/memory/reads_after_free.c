// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it follows a pointer in memory that it has freed */
#include <linux/module.h>
#include <linux/slab.h>

struct holder {
	long number;
	int *to;
};

static int target;
static struct holder *kept;

/* Not inlined, and by a pointer that the compiler does not know to be freed. */
static noinline int follow_late(struct holder *from)
{
	return READ_ONCE(*READ_ONCE(from->to));
}

static int __init fault_init(void)
{
	kept = kmalloc(sizeof(*kept), GFP_KERNEL);
	if (!kept)
		return -ENOMEM;
	kept->to = &target;
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	kfree(kept);
	target = follow_late(READ_ONCE(kept));
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: it follows a pointer in memory that it has freed");
