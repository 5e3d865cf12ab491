// SPDX-License-Identifier: GPL-2.0
/*
 * bh_threaded.c - The same as intrpt.c, in a thread of the interrupt's own.
 *
 *	insmod bh_threaded.ko chip=pinctrl-bcm2711 button_up=17 button_down=18 led=4
 *
 * The kernel makes a thread for each interrupt (ps shows irq/...), wakes it
 * when the interrupt comes, and lets it do what a handler must not: sleep, take
 * a mutex, talk to a chip behind a slow bus. What must be done at once would be
 * a handler's, which returns IRQ_WAKE_THREAD to have the thread woken; here
 * there is nothing of the kind, so there is no handler.
 *
 * The book names threaded interrupts as a replacement for tasklets (see
 * example_tasklet.c) without an example.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gpio/consumer.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>

#include "buttons.h"

/* Two threads, so two may come here at once. They may sleep: a mutex will do. */
static DEFINE_MUTEX(led_lock);

static void show_buttons(void)
{
	int i, held = 0;

	mutex_lock(&led_lock);
	/* The functions for any chip. Those of intrpt.c warn if the chip sleeps. */
	for (i = 0; i < NR_BUTTONS; i++)
		held |= gpiod_get_value_cansleep(BUTTONS[i].desc) > 0;
	gpiod_set_value_cansleep(LED->desc, held);
	mutex_unlock(&led_lock);
}

static irqreturn_t bh_threaded_thread(int irq, void *line)
{
	show_buttons();
	return IRQ_HANDLED;
}

static int __init bh_threaded_init(void)
{
	int err = get_lines(true);

	if (err)
		return err;

	/*
	 * IRQF_ONESHOT: where a line interrupts as long as it is high, and not at
	 * edges as here, it stays masked until the thread is done. Else it would
	 * interrupt for ever, and the thread never run. So the kernel insists on
	 * this flag where there is no handler that could quieten the device.
	 */
	err = get_irqs(NULL, bh_threaded_thread, IRQF_ONESHOT);
	if (err) {
		put_lines();
		return err;
	}

	show_buttons(); /* one may be held already */
	pr_info("the buttons are interrupts %d and %d\n", BUTTONS[0].irq, BUTTONS[1].irq);
	return 0;
}

static void __exit bh_threaded_exit(void)
{
	free_irqs(); /* waits for the threads, too, and ends them */
	put_lines();
	pr_info("the lines are free\n");
}

module_init(bh_threaded_init);
module_exit(bh_threaded_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Handle the interrupts of two buttons in threads");
