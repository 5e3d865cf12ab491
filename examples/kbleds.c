// SPDX-License-Identifier: GPL-2.0
/*
 * kbleds.c - Blink the keyboard LEDs through a timer until unloaded.
 *
 * The usual way to the LEDs went through the console that is shown, and fell
 * over a NULL pointer where there is none. This module asks the input system
 * for every keyboard that has LEDs instead: it needs no console, follows
 * keyboards that are plugged in and out, and knows when there is none.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/input.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/version.h>

#define BLINK_DELAY (HZ / 5)

static const unsigned int leds[] = { LED_NUML, LED_CAPSL, LED_SCROLLL };

struct keyboard {
	struct input_handle handle; /* between this handler and that device */
	/*
	 * The LEDs as they were before. Caps Lock pressed while they blink is not
	 * seen: light and state may differ then, until the next key.
	 */
	unsigned long saved;
};

static void set_leds(struct input_handle *handle, unsigned long state)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(leds); i++)
		input_inject_event(handle, EV_LED, leds[i], !!(state & BIT(leds[i])));
	input_inject_event(handle, EV_SYN, SYN_REPORT, 0);
}

/* The table below asks for devices with LEDs; here only keyboards' LEDs count. */
static bool kbleds_match(struct input_handler *handler, struct input_dev *dev)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(leds); i++)
		if (test_bit(leds[i], dev->ledbit))
			return true;
	return false;
}

/* Called for each keyboard that is there, and for each that is plugged in later. */
static int kbleds_connect(struct input_handler *handler, struct input_dev *dev,
			  const struct input_device_id *id)
{
	struct keyboard *keyboard;
	int err;

	keyboard = kzalloc(sizeof(*keyboard), GFP_KERNEL);
	if (!keyboard)
		return -ENOMEM;
	keyboard->handle.dev = dev;
	keyboard->handle.handler = handler;
	keyboard->handle.name = "kbleds";
	keyboard->saved = dev->led[0];

	err = input_register_handle(&keyboard->handle);
	if (err)
		goto free;
	err = input_open_device(&keyboard->handle);
	if (err)
		goto unregister;
	pr_info("blinking the LEDs of %s\n", dev->name ?: "a keyboard");
	return 0;

unregister:
	input_unregister_handle(&keyboard->handle);
free:
	kfree(keyboard);
	return err;
}

static void kbleds_disconnect(struct input_handle *handle)
{
	struct keyboard *keyboard = container_of(handle, struct keyboard, handle);

	set_leds(handle, keyboard->saved);
	input_close_device(handle);
	input_unregister_handle(handle); /* waits for a timer that uses it */
	kfree(keyboard);
}

static const struct input_device_id kbleds_ids[] = {
	{ .flags = INPUT_DEVICE_ID_MATCH_EVBIT, .evbit = { BIT_MASK(EV_LED) } },
	{},
};

static struct input_handler kbleds_handler = {
	.name = "kbleds",
	.match = kbleds_match,
	.connect = kbleds_connect,
	.disconnect = kbleds_disconnect,
	.id_table = kbleds_ids,
};

static int blink(struct input_handle *handle, void *on)
{
	set_leds(handle, on ? ~0UL : 0);
	return 0;
}

/* A timer, and what its function needs. */
static struct blinker {
	struct timer_list timer;
	bool on; /* the LEDs */
} blinker;

#ifndef timer_container_of
#define timer_container_of from_timer /* its name before 6.16 */
#endif

/*
 * Runs in a software interrupt, on behalf of nobody: no sleeping here. Since
 * 4.14 a timer function gets its timer, and no number in which modules used to
 * hide a pointer. The structure that the timer is part of is found from there.
 */
static void blinker_fn(struct timer_list *timer)
{
	struct blinker *b = timer_container_of(b, timer, timer);

	b->on = !b->on;
	input_handler_for_each_handle(&kbleds_handler, b->on ? b : NULL, blink);
	mod_timer(&b->timer, jiffies + BLINK_DELAY); /* a timer runs once: set it again */
}

static int __init kbleds_init(void)
{
	int err;

	/* Before it is used: which function the timer calls. (DEFINE_TIMER() does it at once.) */
	timer_setup(&blinker.timer, blinker_fn, 0);

	err = input_register_handler(&kbleds_handler);
	if (err)
		return err;
	if (list_empty(&kbleds_handler.h_list)) {
		pr_err("this machine has no keyboard with LEDs\n");
		input_unregister_handler(&kbleds_handler);
		return -ENODEV;
	}

	mod_timer(&blinker.timer, jiffies + BLINK_DELAY);
	return 0;
}

static void __exit kbleds_exit(void)
{
	/*
	 * The timer goes first: it uses the keyboards. It sets itself again, and
	 * this can handle that: it waits for the function if it runs, on whatever
	 * CPU, and takes the timer back.
	 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	timer_delete_sync(&blinker.timer);
#else /* 6.2 has the new name (so have later 5.10 and 6.1), 6.15 not the old one */
	del_timer_sync(&blinker.timer);
#endif
	input_unregister_handler(&kbleds_handler);
	pr_info("the LEDs are as they were\n");
}

module_init(kbleds_init);
module_exit(kbleds_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Blink the keyboard LEDs through a timer");
