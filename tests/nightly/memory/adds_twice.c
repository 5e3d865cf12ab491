// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: it puts an element into a list in which it is already */
#include <linux/list.h>
#include <linux/module.h>

static LIST_HEAD(all);
static struct list_head element;

static int __init fault_init(void)
{
	list_add(&element, &all);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	list_add(&element, &all);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for kmodlab to find: it puts an element into a list in which it is already");
