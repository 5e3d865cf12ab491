// SPDX-License-Identifier: GPL-2.0
/*
 * bottomhalf.c - The same as intrpt.c, with the long part of the work put off.
 *
 *	insmod bottomhalf.ko chip=pinctrl-bcm2711 button_up=17 button_down=18 led=4
 *
 * An interrupt handler holds up its CPU, so it should do what cannot wait, the
 * top half, and leave the rest, the bottom half, for later. The book takes a
 * tasklet for that. A tasklet must not sleep, though, and tasklets are being
 * retired: work, in a work queue, does the same and may sleep. Another way, a
 * thread for the interrupt, is in bh_threaded.c.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/gpio/consumer.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "buttons.h"

#define BOTTOM_HALF_MS 500

static DEFINE_SPINLOCK(led_lock); /* as in intrpt.c */

static void show_buttons(void)
{
	unsigned long flags;
	int i, held = 0;

	spin_lock_irqsave(&led_lock, flags);
	for (i = 0; i < NR_BUTTONS; i++)
		held |= gpiod_get_value(BUTTONS[i].desc) > 0;
	gpiod_set_value(LED->desc, held);
	spin_unlock_irqrestore(&led_lock, flags);
}

static atomic_t unhandled; /* interrupts that the bottom half has not seen */

/*
 * The bottom half, in a kernel thread. Interrupts that come before it has begun
 * share one run, so how many there were has to be counted.
 */
static void bottom_half(struct work_struct *unused)
{
	int n = atomic_xchg(&unhandled, 0);

	pr_info("bottom half starts, interrupts: %d\n", n);
	msleep(BOTTOM_HALF_MS); /* a bunch of stuff */
	pr_info("bottom half ends\n");
}

static DECLARE_WORK(work, bottom_half);

/* The top half. */
static irqreturn_t bottomhalf_handler(int irq, void *line)
{
	show_buttons();
	atomic_inc(&unhandled);
	schedule_work(&work);
	return IRQ_HANDLED;
}

static int __init bottomhalf_init(void)
{
	int err = get_lines(false);

	if (err)
		return err;

	err = get_irqs(bottomhalf_handler, NULL, 0);
	if (err)
		goto cancel;

	show_buttons(); /* one may be held already */
	pr_info("the buttons are interrupts %d and %d\n", BUTTONS[0].irq, BUTTONS[1].irq);
	return 0;

cancel:
	/* The first button may have interrupted before the second was refused. */
	cancel_work_sync(&work);
	put_lines();
	return err;
}

static void __exit bottomhalf_exit(void)
{
	free_irqs(); /* from here on nobody schedules the work */
	/* Drops work that has not begun, waits for work that has. */
	cancel_work_sync(&work);
	put_lines();
	pr_info("the lines are free\n");
}

module_init(bottomhalf_init);
module_exit(bottomhalf_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Put off the long part of an interrupt's work");
