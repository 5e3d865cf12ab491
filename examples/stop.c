// SPDX-License-Identifier: GPL-2.0
/*
 * stop.c - The second half of startstop.ko; start.c is the first.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

static void __exit startstop_exit(void)
{
	pr_info("Short is the life of a kernel module\n");
}

module_exit(startstop_exit);
