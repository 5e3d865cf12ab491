// SPDX-License-Identifier: GPL-2.0
/*
 * bottomhalf.c - The same as intrpt.c, with the long part of the work put off.
 *
 * An interrupt handler holds up its CPU, so it should do what cannot wait, the
 * top half, and leave the rest, the bottom half, for later. That was a tasklet
 * for many years. A tasklet must not sleep, though, and tasklets are being
 * retired: work, in a work queue, does the same and may sleep.
 *
 *	insmod bottomhalf.ko chip=pinctrl-bcm2711 button_up=17 button_down=18 led=4
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/gpio/consumer.h>
#include <linux/gpio/machine.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#define BOTTOM_HALF_MS 500

static char *chip;
module_param(chip, charp, 0444);
MODULE_PARM_DESC(chip, "label of the GPIO chip");

static int button_up = -1;
module_param(button_up, int, 0444);
MODULE_PARM_DESC(button_up, "offset of the first button's line");

static int button_down = -1;
module_param(button_down, int, 0444);
MODULE_PARM_DESC(button_down, "offset of the second button's line");

static int led = -1;
module_param(led, int, 0444);
MODULE_PARM_DESC(led, "offset of the LED's line");

static struct line {
	const char *name; /* in error messages and /proc/interrupts */
	const int *offset;
	enum gpiod_flags direction;
	struct gpio_desc *desc; /* NULL until we own the line */
	int irq;		/* 0 until we own the interrupt */
} lines[] = {
	{ "bottomhalf-led", &led, GPIOD_OUT_LOW },
	{ "bottomhalf-button-up", &button_up, GPIOD_IN },
	{ "bottomhalf-button-down", &button_down, GPIOD_IN },
};

#define LED (&lines[0])
#define BUTTONS (&lines[1])
#define NR_BUTTONS (ARRAY_SIZE(lines) - 1)

/* Lines are handed out to devices, so have one. It needs no driver. */
static struct platform_device *board;

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

/*
 * A chip behind a slow bus sleeps until it has an answer. Then the same takes a
 * mutex, other functions, and a thread to call them in: interrupt handlers must
 * not sleep.
 */
static bool chip_sleeps;
static DEFINE_MUTEX(slow_led_lock);

static void show_buttons_slowly(void)
{
	int i, held = 0;

	mutex_lock(&slow_led_lock);
	for (i = 0; i < NR_BUTTONS; i++)
		held |= gpiod_get_value_cansleep(BUTTONS[i].desc) > 0;
	gpiod_set_value_cansleep(LED->desc, held);
	mutex_unlock(&slow_led_lock);
}

static atomic_t unhandled; /* interrupts that the bottom half has not seen */

/*
 * The bottom half, in a kernel thread. Interrupts that come before it has begun
 * share one run, so how many there were has to be counted.
 */
static void bottom_half(struct work_struct *unused)
{
	int n = atomic_xchg(&unhandled, 0);

	pr_info("bottomhalf: bottom half starts, interrupts: %d\n", n);
	msleep(BOTTOM_HALF_MS); /* a bunch of stuff */
	pr_info("bottomhalf: bottom half ends\n");
}

static DECLARE_WORK(work, bottom_half);

/* The top half. */
static irqreturn_t bottomhalf_handler(int irq, void *line)
{
	atomic_inc(&unhandled);
	schedule_work(&work);
	if (chip_sleeps)
		return IRQ_WAKE_THREAD;
	show_buttons();
	return IRQ_HANDLED;
}

/* What IRQ_WAKE_THREAD wakes. */
static irqreturn_t bottomhalf_thread(int irq, void *line)
{
	show_buttons_slowly();
	return IRQ_HANDLED;
}

/*
 * Where a driver's lines are is not the driver's business: a table, usually
 * made from a device tree, says it. This one is made from the parameters.
 */
static int get_line(struct line *line)
{
	struct gpiod_lookup_table *table;
	struct gpio_desc *desc;

	/* 65535 and above is no offset: the kernel keeps 16 bits, and the last value means something else. */
	if (!chip || *line->offset < 0 || *line->offset >= U16_MAX) {
		pr_err("bottomhalf: needs chip=LABEL button_up=LINE button_down=LINE led=LINE\n");
		return -EINVAL;
	}

	table = kzalloc(struct_size(table, table, 2), GFP_KERNEL); /* one entry and an empty one */
	if (!table)
		return -ENOMEM;
	table->dev_id = dev_name(&board->dev);
	table->table[0].key = chip;
	table->table[0].chip_hwnum = *line->offset;
	table->table[0].con_id = line->name;

	gpiod_add_lookup_table(table);
	desc = gpiod_get(&board->dev, line->name, line->direction);
	gpiod_remove_lookup_table(table);
	kfree(table);

	if (desc == ERR_PTR(-EPROBE_DEFER)) { /* "try later": a driver would; insmod does not */
		pr_err("bottomhalf: there is no GPIO chip \"%s\"\n", chip);
		return -ENODEV;
	}
	if (IS_ERR(desc)) {
		pr_err("bottomhalf: cannot have line %d of \"%s\" for %s: %pe\n", *line->offset,
		       chip, line->name, desc);
		return PTR_ERR(desc);
	}
	line->desc = desc;

	chip_sleeps = gpiod_cansleep(desc);
	return 0;
}

static int get_irq(struct line *button)
{
	int err, irq = gpiod_to_irq(button->desc);

	if (irq < 0) {
		pr_err("bottomhalf: line %d of \"%s\" cannot interrupt: %pe\n", *button->offset,
		       chip, ERR_PTR(irq));
		return irq;
	}

	err = request_threaded_irq(irq, bottomhalf_handler, chip_sleeps ? bottomhalf_thread : NULL,
				   IRQF_TRIGGER_RISING | IRQF_TRIGGER_FALLING, button->name,
				   button);
	if (err) {
		pr_err("bottomhalf: cannot have interrupt %d for %s: %pe\n", irq, button->name,
		       ERR_PTR(err));
		return err;
	}
	button->irq = irq;
	return 0;
}

/* Gives back what there is, in reverse, so that it serves a failed start, too. */
static void bottomhalf_release(void)
{
	int i;

	/* free_irq() waits for a handler that runs: only then may its lines go. */
	for (i = 0; i < NR_BUTTONS; i++)
		if (BUTTONS[i].irq)
			free_irq(BUTTONS[i].irq, &BUTTONS[i]);
	/* Drops work that has not begun, waits for work that has. Nobody is left to schedule it again. */
	cancel_work_sync(&work);
	if (LED->desc)
		gpiod_set_value_cansleep(LED->desc, 0);
	for (i = 0; i < ARRAY_SIZE(lines); i++)
		gpiod_put(lines[i].desc);
	platform_device_unregister(board);
}

static int __init bottomhalf_init(void)
{
	int i, err = 0;

	board = platform_device_register_simple("bottomhalf", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(board))
		return PTR_ERR(board);

	for (i = 0; !err && i < ARRAY_SIZE(lines); i++)
		err = get_line(&lines[i]);
	for (i = 0; !err && i < NR_BUTTONS; i++)
		err = get_irq(&BUTTONS[i]);
	if (err) {
		bottomhalf_release();
		return err;
	}

	/* One may be held already. */
	if (chip_sleeps)
		show_buttons_slowly();
	else
		show_buttons();
	pr_info("bottomhalf: the buttons are interrupts %d and %d\n", BUTTONS[0].irq,
		BUTTONS[1].irq);
	return 0;
}

static void __exit bottomhalf_exit(void)
{
	bottomhalf_release();
	pr_info("bottomhalf: the lines are free\n");
}

module_init(bottomhalf_init);
module_exit(bottomhalf_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Put off the long part of an interrupt's work");
