// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a high-resolution timer armed, for much later */
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/version.h>

static enum hrtimer_restart chime(struct hrtimer *timer)
{
	return HRTIMER_NORESTART;
}

static int __init fault_init(void)
{
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	struct hrtimer *timer = kzalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, chime, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer->function = chime;
#endif
	hrtimer_start(timer, ktime_set(1000, 0), HRTIMER_MODE_REL);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for kmodlab to find: exit leaves a high-resolution timer armed, for much later");
