/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vinput.h - What vinput.c offers to drivers of virtual input devices.
 */
#ifndef VINPUT_H
#define VINPUT_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/input.h>
#include <linux/mutex.h>

/* The longest text that can be written to /dev/vinputN or read from it. */
#define VINPUT_MAX_LEN 128

struct vinput;

/*
 * What a driver does. Each is called with the device locked, so one at a time.
 * They return a negative error number when they fail.
 */
struct vinput_ops {
	/* Say what vinput->input can do, and register it. */
	int (*init)(struct vinput *vinput);
	/* Turn a text (NUL-terminated, @len without the NUL) into input events. */
	int (*send)(struct vinput *vinput, char *text, int len);
	/* Write the last event as text into @text, of size @len; return how much that was. */
	int (*read)(struct vinput *vinput, char *text, int len);
};

/* A kind of virtual input device, such as "vkbd". */
struct vinput_device {
	const char *name;
	const struct vinput_ops *ops;
	struct module *owner;
	struct list_head list; /* for vinput.c */
};

/* One virtual input device: /dev/vinputN and its input device. */
struct vinput {
	struct device dev; /* counts who uses this structure; freed with the last */
	struct cdev cdev;
	int id;
	long last; /* for the driver: the last event sent */
	struct vinput_device *type;
	struct mutex lock;	 /* protects last and input, and serialises the driver's calls */
	struct input_dev *input; /* NULL once unexported */
};

int vinput_register_device(struct vinput_device *type);
void vinput_unregister_device(struct vinput_device *type);

#endif /* VINPUT_H */
