// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a probe of a tracepoint */
#include <linux/module.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

static struct tracepoint *point;

static void probe(void *data)
{
}

static void look(struct tracepoint *each, void *data)
{
	if (!strcmp(each->name, "module_free"))
		point = each;
}

static int __init fault_init(void)
{
	for_each_kernel_tracepoint(look, NULL);
	return point ? tracepoint_probe_register(point, probe, NULL) : -ENOENT;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a probe of a tracepoint");
