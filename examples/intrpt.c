// SPDX-License-Identifier: GPL-2.0
/*
 * intrpt.c - Two buttons interrupt the CPU; an LED shows whether one is held.
 *
 *	insmod intrpt.ko chip=pinctrl-bcm2711 button_up=17 button_down=18 led=4
 *
 * How the lines are found is in buttons.h. In the book one button turns the LED
 * on and the other turns it off; here it is lit while any is held.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gpio/consumer.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/spinlock.h>

#include "buttons.h"

/*
 * Each button has its own interrupt, and two may come at once, on two CPUs.
 * Without the lock the older reading could be shown last.
 */
static DEFINE_SPINLOCK(led_lock);

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

/* Called at each press and at each release, with this interrupt held off. */
static irqreturn_t intrpt_handler(int irq, void *line)
{
	show_buttons();
	return IRQ_HANDLED;
}

static int __init intrpt_init(void)
{
	int err = get_lines(false);

	if (err)
		return err;

	err = get_irqs(intrpt_handler, NULL, 0);
	if (err) {
		put_lines();
		return err;
	}

	show_buttons(); /* one may be held already */
	pr_info("the buttons are interrupts %d and %d\n", BUTTONS[0].irq, BUTTONS[1].irq);
	return 0;
}

static void __exit intrpt_exit(void)
{
	free_irqs(); /* first: the handler uses the lines */
	put_lines();
	pr_info("the lines are free\n");
}

module_init(intrpt_init);
module_exit(intrpt_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Handle the interrupts of two buttons");
