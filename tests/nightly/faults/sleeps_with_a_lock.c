// SPDX-License-Identifier: GPL-2.0
/* A fault for the debug kernel to find: a sleep with a spinlock held. */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/spinlock.h>

static DEFINE_SPINLOCK(lock);

static int __init fault_init(void)
{
	spin_lock(&lock);
	msleep(1);
	spin_unlock(&lock);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for the debug kernel to find: a sleep with a spinlock held");
