// SPDX-License-Identifier: GPL-2.0
/* No fault: it does in order what the others here do out of it. */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/timer.h>

static DEFINE_MUTEX(lock);
static struct timer_list timer;
static char *kept;

static void fires(struct timer_list *unused)
{
}

static int __init innocent_init(void)
{
	kept = kzalloc(64, GFP_KERNEL);
	if (!kept)
		return -ENOMEM;
	mutex_lock(&lock);
	kept[63] = 1;
	mutex_unlock(&lock);
	timer_setup(&timer, fires, 0);
	mod_timer(&timer, jiffies + HZ);
	return 0;
}
module_init(innocent_init);

static void __exit innocent_exit(void)
{
	timer_delete_sync(&timer);
	kfree(kept);
}
module_exit(innocent_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No fault: it does in order what the others here do out of it");
