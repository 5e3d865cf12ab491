// SPDX-License-Identifier: GPL-2.0
/* No fault at all: it has its memory freed a moment later, when nobody reads it any more */
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

struct holder {
	struct rcu_head later;
	char text[200];
};

static struct holder *kept[20];

static void fault_free(void)
{
	int each;

	for (each = 0; each < 20; each++)
		if (kept[each])
			kfree_rcu(kept[each], later);
}

static int __init fault_init(void)
{
	int each;

	for (each = 0; each < 20; each++) {
		kept[each] = kzalloc(sizeof(*kept[each]), GFP_KERNEL);
		if (!kept[each]) {
			fault_free();
			return -ENOMEM;
		}
	}
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	fault_free();
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"No fault at all: it has its memory freed a moment later, when nobody reads it any more");
