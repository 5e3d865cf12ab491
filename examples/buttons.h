/* SPDX-License-Identifier: GPL-2.0 */
/*
 * buttons.h - Two buttons and an LED on GPIO lines: what intrpt.c, bottomhalf.c
 * and bh_threaded.c share.
 *
 * Which lines they are on depends on the machine, so say so. A line is named by
 * the label of its chip and its offset there (gpioinfo shows both):
 *
 *	insmod intrpt.ko chip=pinctrl-bcm2711 button_up=17 button_down=18 led=4
 *
 * Numbers that count through all chips, as gpio_request() takes, change from
 * boot to boot and are on their way out of the kernel.
 *
 * The chip must stay while a module has its lines. Drivers of chips that can be
 * unplugged tie their users to the chip (struct device_link); the device here
 * has no driver that could be told.
 *
 * It is a header, and no second .c as in startstop.ko, since kbuild cannot make
 * intrpt.ko from intrpt.c and another file: the names would be the same.
 */
#ifndef BUTTONS_H
#define BUTTONS_H

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/gpio/consumer.h>
#include <linux/gpio/machine.h>
#include <linux/interrupt.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/moduleparam.h>
#include <linux/platform_device.h>
#include <linux/printk.h>
#include <linux/slab.h>

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
	{
		.name = KBUILD_MODNAME "-led",
		.offset = &led,
		.direction = GPIOD_OUT_LOW,
	},
	{
		.name = KBUILD_MODNAME "-button-up",
		.offset = &button_up,
		.direction = GPIOD_IN,
	},
	{
		.name = KBUILD_MODNAME "-button-down",
		.offset = &button_down,
		.direction = GPIOD_IN,
	},
};

#define LED (&lines[0])
#define BUTTONS (&lines[1])
#define NR_BUTTONS (ARRAY_SIZE(lines) - 1)

/* Lines are handed out to devices, so have one. It needs no driver. */
static struct platform_device *board;

/*
 * Where a driver's lines are is not the driver's business: a table, usually
 * made from a device tree, says it. This one is made from the parameters.
 */
static int get_line(struct line *line)
{
	struct gpiod_lookup_table *table;
	struct gpio_desc *desc;

	/*
	 * The kernel keeps 16 bits of an offset, and the highest value means
	 * something else.
	 */
	if (!chip || *line->offset < 0 || *line->offset >= U16_MAX) {
		pr_err("needs chip=LABEL button_up=LINE button_down=LINE led=LINE\n");
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
		pr_err("there is no GPIO chip \"%s\"\n", chip);
		return -ENODEV;
	}
	if (IS_ERR(desc)) {
		pr_err("cannot have line %d of \"%s\" for %s: %pe\n", *line->offset, chip,
		       line->name, desc);
		return PTR_ERR(desc);
	}
	line->desc = desc;
	return 0;
}

static int get_irq(struct line *button, irq_handler_t handler, irq_handler_t thread,
		   unsigned long flags)
{
	int err, irq = gpiod_to_irq(button->desc);

	if (irq < 0) {
		pr_err("line %d of \"%s\" cannot interrupt: %pe\n", *button->offset, chip,
		       ERR_PTR(irq));
		return irq;
	}

	/* Without a thread this is request_irq(). */
	err = request_threaded_irq(irq, handler, thread,
				   flags | IRQF_TRIGGER_RISING | IRQF_TRIGGER_FALLING, button->name,
				   button);
	if (err) {
		pr_err("cannot have interrupt %d for %s: %pe\n", irq, button->name, ERR_PTR(err));
		return err;
	}
	button->irq = irq;
	return 0;
}

/* No handler and no thread of ours runs any more when this returns, and none will. */
static void free_irqs(void)
{
	int i;

	for (i = 0; i < NR_BUTTONS; i++) {
		if (BUTTONS[i].irq)
			free_irq(BUTTONS[i].irq, &BUTTONS[i]);
		BUTTONS[i].irq = 0;
	}
}

/* Only once no interrupt uses them. */
static void put_lines(void)
{
	int i;

	if (LED->desc)
		gpiod_set_value_cansleep(LED->desc, 0);
	for (i = 0; i < ARRAY_SIZE(lines); i++)
		gpiod_put(lines[i].desc);
	platform_device_unregister(board);
}

/*
 * A chip behind a slow bus (I2C, SPI) sleeps until it has an answer, and an
 * interrupt handler must not sleep. Who sets @may_sleep does not call it in one.
 */
static int get_lines(bool may_sleep)
{
	int i, err;

	board = platform_device_register_simple(KBUILD_MODNAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(board))
		return PTR_ERR(board);

	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		err = get_line(&lines[i]);
		if (err)
			goto put;
		if (!may_sleep && gpiod_cansleep(lines[i].desc)) {
			pr_err("GPIO chip \"%s\" sleeps: take bh_threaded.ko\n", chip);
			err = -EINVAL;
			goto put;
		}
	}
	return 0;

put:
	put_lines();
	return err;
}

/* Both buttons' interrupts; none is kept on error. */
static int get_irqs(irq_handler_t handler, irq_handler_t thread, unsigned long flags)
{
	int i, err;

	for (i = 0; i < NR_BUTTONS; i++) {
		err = get_irq(&BUTTONS[i], handler, thread, flags);
		if (err) {
			free_irqs();
			return err;
		}
	}
	return 0;
}

#endif /* BUTTONS_H */
