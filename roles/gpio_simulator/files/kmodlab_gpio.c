// SPDX-License-Identifier: GPL-2.0
/*
 * kmodlab_gpio.c - A GPIO chip without hardware, for machines that have none.
 *
 * Debian's kernels for x86 have GPIOLIB, but none of the kernel's own simulated
 * chips. This one has eight lines, each an input to the kernel until a driver
 * makes it an output. The file /sys/devices/kmodlab_gpio/lineN is the far end of
 * the wire of line N:
 *
 *	write 0 or 1	drive the wire. On an input an edge interrupts, for real:
 *			through an interrupt of this CPU's own (irq_work) and the
 *			kernel's interrupt core. Its handler has run, if it is not
 *			masked, when the write returns.
 *	read		the level of the wire: what the driver drives if it made
 *			the line an output, else what was written here
 *	poll		POLLPRI: the driver has changed the level
 *
 * The chip cannot be unloaded while a driver holds one of its lines.
 */
#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/gpio/driver.h>
#include <linux/irq.h>
#include <linux/irq_work.h>
#include <linux/irqdomain.h>
#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>
#include <linux/version.h>

#define LINES 8

static char *label = "kmodlab-gpio";
module_param(label, charp, 0444);
MODULE_PARM_DESC(label, "the chip's label");

/* Bit N is line N. Read and written in interrupts, too, and under raw locks of the interrupt core. */
static DEFINE_RAW_SPINLOCK(lock);
static unsigned long wire;   /* driven from outside */
static unsigned long output; /* driven by the kernel */
static unsigned long is_output;
static unsigned long rising, falling; /* edges that interrupt */
static unsigned long unmasked;
static unsigned long pending; /* edges that irq_work has yet to deliver */

static struct device *board; /* what the chip is on: 5.10 falls over a chip that is on nothing */
static struct kernfs_node *nodes[LINES]; /* who polls lineN waits here */

static struct gpio_chip chip;

static bool level(unsigned int line)
{
	return test_bit(line, test_bit(line, &is_output) ? &output : &wire);
}

/* Deliver the edges, in a hardware interrupt. */
static void deliver(struct irq_work *unused)
{
	unsigned long edges, flags;
	unsigned int line;

	raw_spin_lock_irqsave(&lock, flags);
	edges = pending;
	pending = 0;
	raw_spin_unlock_irqrestore(&lock, flags);

	for_each_set_bit(line, &edges, LINES)
		generic_handle_irq(irq_find_mapping(chip.irq.domain, line));
}

/* In a hardware interrupt on real-time kernels, too, where irq_work is otherwise a thread's. */
#ifdef IRQ_WORK_INIT_HARD /* since 5.11 */
static struct irq_work delivery = IRQ_WORK_INIT_HARD(deliver);
#else
static DEFINE_IRQ_WORK(delivery, deliver);
#endif

static void drive(unsigned int line, bool high)
{
	unsigned long flags;
	bool edge;

	raw_spin_lock_irqsave(&lock, flags);
	edge = test_bit(line, &wire) != high && !test_bit(line, &is_output) &&
	       test_bit(line, &unmasked) && test_bit(line, high ? &rising : &falling);
	__assign_bit(line, &wire, high);
	if (edge)
		__set_bit(line, &pending);
	raw_spin_unlock_irqrestore(&lock, flags);

	if (edge) {
		irq_work_queue(&delivery);
		irq_work_sync(&delivery);
	}
}

static int chip_get_direction(struct gpio_chip *gc, unsigned int line)
{
	return test_bit(line, &is_output) ? GPIO_LINE_DIRECTION_OUT : GPIO_LINE_DIRECTION_IN;
}

static int chip_get(struct gpio_chip *gc, unsigned int line)
{
	unsigned long flags;
	bool high;

	raw_spin_lock_irqsave(&lock, flags);
	high = level(line);
	raw_spin_unlock_irqrestore(&lock, flags);
	return high;
}

/* Change what drives a line, and tell who polls it if that changed its level. */
static int chip_configure(unsigned int line, bool out, bool high)
{
	unsigned long flags;
	bool before, after;

	raw_spin_lock_irqsave(&lock, flags);
	before = level(line);
	__assign_bit(line, &is_output, out);
	__assign_bit(line, &output, high);
	after = level(line);
	raw_spin_unlock_irqrestore(&lock, flags);

	if (before != after)
		sysfs_notify_dirent(nodes[line]);
	return 0;
}

static int chip_direction_input(struct gpio_chip *gc, unsigned int line)
{
	return chip_configure(line, false, false);
}

static int chip_direction_output(struct gpio_chip *gc, unsigned int line, int value)
{
	return chip_configure(line, true, value);
}

/* Since 6.17 a chip may say that it could not. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
#define SET_TYPE int
#else
#define SET_TYPE void
#endif

static SET_TYPE chip_set(struct gpio_chip *gc, unsigned int line, int value)
{
	/* The level of an input is kept for when it becomes an output. */
	return (SET_TYPE)chip_configure(line, test_bit(line, &is_output), value);
}

/*
 * Since 5.19 a chip is told by these whether a line is in use as an interrupt;
 * before, GPIOLIB wrapped the functions below to find out.
 */
#ifndef GPIOCHIP_IRQ_RESOURCE_HELPERS
#define GPIOCHIP_IRQ_RESOURCE_HELPERS .irq_request_resources = NULL /* GPIOLIB puts in its own */
#define IRQCHIP_IMMUTABLE 0
#define gpiochip_enable_irq(gc, line)
#define gpiochip_disable_irq(gc, line)
#define gpio_irq_chip_set_chip(girq, irqchip) ((girq)->chip = (irqchip))
#endif

/* An edge that comes while masked is lost, but only ever while one before it has yet to be handled. */
static void chip_mask(struct irq_data *d)
{
	clear_bit(irqd_to_hwirq(d), &unmasked);
	gpiochip_disable_irq(&chip, irqd_to_hwirq(d));
}

static void chip_unmask(struct irq_data *d)
{
	gpiochip_enable_irq(&chip, irqd_to_hwirq(d));
	set_bit(irqd_to_hwirq(d), &unmasked);
}

/* An edge is an event: there is nothing to take back. */
static void chip_ack(struct irq_data *d)
{
}

static int chip_set_type(struct irq_data *d, unsigned int type)
{
	irq_hw_number_t line = irqd_to_hwirq(d);
	unsigned long flags;

	if (!type || type & ~IRQ_TYPE_EDGE_BOTH)
		return -EINVAL;

	raw_spin_lock_irqsave(&lock, flags);
	__assign_bit(line, &rising, type & IRQ_TYPE_EDGE_RISING);
	__assign_bit(line, &falling, type & IRQ_TYPE_EDGE_FALLING);
	raw_spin_unlock_irqrestore(&lock, flags);
	return 0;
}

static struct irq_chip irqchip = {
	.name = "kmodlab-gpio",
	.irq_ack = chip_ack,
	.irq_mask = chip_mask,
	.irq_unmask = chip_unmask,
	.irq_set_type = chip_set_type,
	.flags = IRQCHIP_IMMUTABLE,
	GPIOCHIP_IRQ_RESOURCE_HELPERS,
};

static struct gpio_chip chip = {
	.owner = THIS_MODULE,
	.base = -1,
	.ngpio = LINES,
	.get_direction = chip_get_direction,
	.direction_input = chip_direction_input,
	.direction_output = chip_direction_output,
	.get = chip_get,
	.set = chip_set,
};

static struct device_attribute line_files[LINES];

static ssize_t line_show(struct device *dev, struct device_attribute *file, char *buf)
{
	return sysfs_emit(buf, "%d\n", chip_get(&chip, file - line_files));
}

static ssize_t line_store(struct device *dev, struct device_attribute *file, const char *buf,
			  size_t count)
{
	bool high;
	int err = kstrtobool(buf, &high);

	if (err)
		return err;
	drive(file - line_files, high);
	return count;
}

#define LINE_FILE(n) \
	{ .attr = { .name = "line" #n, .mode = 0600 }, .show = line_show, .store = line_store }

static struct device_attribute line_files[LINES] = {
	LINE_FILE(0), LINE_FILE(1), LINE_FILE(2), LINE_FILE(3),
	LINE_FILE(4), LINE_FILE(5), LINE_FILE(6), LINE_FILE(7),
};

static void remove_board(void)
{
	unsigned int line;

	for (line = 0; line < LINES; line++)
		sysfs_put(nodes[line]);
	root_device_unregister(board); /* removes the files, and waits for who is in them */
}

static int create_board(void)
{
	unsigned int line;
	int err;

	board = root_device_register("kmodlab_gpio");
	if (IS_ERR(board))
		return PTR_ERR(board);

	for (line = 0; line < LINES; line++) {
		err = device_create_file(board, &line_files[line]);
		if (err) {
			remove_board();
			return err;
		}
		nodes[line] = sysfs_get_dirent(board->kobj.sd, line_files[line].attr.name);
	}
	return 0;
}

static int __init kmodlab_gpio_init(void)
{
	int err = create_board(); /* first: the chip's outputs notify who polls them */

	if (err)
		return err;

	chip.label = label;
	chip.parent = board;
	gpio_irq_chip_set_chip(&chip.irq, &irqchip);
	chip.irq.handler = handle_edge_irq;
	chip.irq.default_type = IRQ_TYPE_NONE;
	err = gpiochip_add_data(&chip, NULL);
	if (err)
		remove_board();
	return err;
}

static void __exit kmodlab_gpio_exit(void)
{
	gpiochip_remove(&chip);
	remove_board();
}

module_init(kmodlab_gpio_init);
module_exit(kmodlab_gpio_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A GPIO chip without hardware, driven through sysfs");
