// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a kprobe */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/slab.h>

static int __init fault_init(void)
{
	struct kprobe *probe = kzalloc(sizeof(*probe), GFP_KERNEL);

	if (!probe)
		return -ENOMEM;
	probe->symbol_name = kstrdup("do_mount", GFP_KERNEL) ?: "";
	return register_kprobe(probe);
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a kprobe");
