// SPDX-License-Identifier: GPL-2.0
/*
 * intrpt.c - Two buttons interrupt the CPU; an LED shows whether one is held.
 *
 * Which lines they are on depends on the machine, so say so. A line is named by
 * the label of its chip and its offset there (gpioinfo shows both):
 *
 *	insmod intrpt.ko chip=pinctrl-bcm2711 button_up=17 button_down=18 led=4
 *
 * Numbers that count through all chips, as gpio_request() takes, change from
 * boot to boot and are on their way out of the kernel.
 */
#include <linux/gpio/consumer.h>
#include <linux/gpio/machine.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

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
	{ "intrpt-led", &led, GPIOD_OUT_LOW },
	{ "intrpt-button-up", &button_up, GPIOD_IN },
	{ "intrpt-button-down", &button_down, GPIOD_IN },
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

/* Called at each press and at each release, with this interrupt held off. */
static irqreturn_t intrpt_handler(int irq, void *line)
{
	if (chip_sleeps)
		return IRQ_WAKE_THREAD;
	show_buttons();
	return IRQ_HANDLED;
}

/* What IRQ_WAKE_THREAD wakes. */
static irqreturn_t intrpt_thread(int irq, void *line)
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
		pr_err("intrpt: needs chip=LABEL button_up=LINE button_down=LINE led=LINE\n");
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
		pr_err("intrpt: there is no GPIO chip \"%s\"\n", chip);
		return -ENODEV;
	}
	if (IS_ERR(desc)) {
		pr_err("intrpt: cannot have line %d of \"%s\" for %s: %pe\n", *line->offset, chip,
		       line->name, desc);
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
		pr_err("intrpt: line %d of \"%s\" cannot interrupt: %pe\n", *button->offset, chip,
		       ERR_PTR(irq));
		return irq;
	}

	err = request_threaded_irq(irq, intrpt_handler, chip_sleeps ? intrpt_thread : NULL,
				   IRQF_TRIGGER_RISING | IRQF_TRIGGER_FALLING, button->name,
				   button);
	if (err) {
		pr_err("intrpt: cannot have interrupt %d for %s: %pe\n", irq, button->name,
		       ERR_PTR(err));
		return err;
	}
	button->irq = irq;
	return 0;
}

/* Gives back what there is, in reverse, so that it serves a failed start, too. */
static void intrpt_release(void)
{
	int i;

	/* free_irq() waits for a handler that runs: only then may its lines go. */
	for (i = 0; i < NR_BUTTONS; i++)
		if (BUTTONS[i].irq)
			free_irq(BUTTONS[i].irq, &BUTTONS[i]);
	if (LED->desc)
		gpiod_set_value_cansleep(LED->desc, 0);
	for (i = 0; i < ARRAY_SIZE(lines); i++)
		gpiod_put(lines[i].desc);
	platform_device_unregister(board);
}

static int __init intrpt_init(void)
{
	int i, err = 0;

	board = platform_device_register_simple("intrpt", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(board))
		return PTR_ERR(board);

	for (i = 0; !err && i < ARRAY_SIZE(lines); i++)
		err = get_line(&lines[i]);
	for (i = 0; !err && i < NR_BUTTONS; i++)
		err = get_irq(&BUTTONS[i]);
	if (err) {
		intrpt_release();
		return err;
	}

	/* One may be held already. */
	if (chip_sleeps)
		show_buttons_slowly();
	else
		show_buttons();
	pr_info("intrpt: the buttons are interrupts %d and %d\n", BUTTONS[0].irq, BUTTONS[1].irq);
	return 0;
}

static void __exit intrpt_exit(void)
{
	intrpt_release();
	pr_info("intrpt: the lines are free\n");
}

module_init(intrpt_init);
module_exit(intrpt_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Handle the interrupts of two buttons");
