// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a notifier in memory of its own */
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/slab.h>

static int note(struct notifier_block *block, unsigned long action, void *data)
{
	return NOTIFY_DONE;
}

static int __init fault_init(void)
{
	struct notifier_block *block = kzalloc(sizeof(*block), GFP_KERNEL);

	if (!block)
		return -ENOMEM;
	block->notifier_call = note;
	return register_die_notifier(block);
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a notifier in memory of its own");
