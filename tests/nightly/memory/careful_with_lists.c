// SPDX-License-Identifier: GPL-2.0
/* No fault at all: its elements go out of their list and come back, each once */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>

static LIST_HEAD(all);
static struct list_head element;

static int __init fault_init(void)
{
	list_add(&element, &all);
	list_del_init(&element);
	list_del_init(&element);
	list_add(&element, &all);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	list_del(&element);
	INIT_LIST_HEAD(&element);
	list_add(&element, &all);
	list_del(&element);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No fault at all: its elements go out of their list and come back, each once");
