// SPDX-License-Identifier: GPL-2.0
/*
 * vkbd.c - A virtual keyboard, a driver for vinput.
 *
 *	echo +34 > /dev/vinput0		presses "g", whose key code (KEY_G) is 34
 *	echo -34 > /dev/vinput0		releases it
 *
 * A key that stays pressed repeats, as on any keyboard. The codes are in
 * include/uapi/linux/input-event-codes.h.
 */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

#include "vinput.h"

static int vkbd_init(struct vinput *vinput)
{
	struct input_dev *input = vinput->input;
	int key;

	__set_bit(EV_KEY, input->evbit);
	__set_bit(EV_REP, input->evbit);
	for (key = KEY_RESERVED + 1; key <= KEY_MAX; key++)
		__set_bit(key, input->keybit);
	return input_register_device(input);
}

static int vkbd_send(struct vinput *vinput, char *text, int len)
{
	int key;
	int err = kstrtoint(text, 10, &key);

	if (err)
		return err;
	if (key == KEY_RESERVED || key < -KEY_MAX || key > KEY_MAX)
		return -EINVAL;

	input_report_key(vinput->input, abs(key), key > 0);
	input_sync(vinput->input);
	vinput->last = key;
	return 0;
}

static int vkbd_read(struct vinput *vinput, char *text, int len)
{
	return scnprintf(text, len, "%+ld\n", vinput->last);
}

static const struct vinput_ops vkbd_ops = {
	.init = vkbd_init,
	.send = vkbd_send,
	.read = vkbd_read,
};

static struct vinput_device vkbd = {
	.name = "vkbd",
	.ops = &vkbd_ops,
	.owner = THIS_MODULE,
};

static int __init vkbd_module_init(void)
{
	return vinput_register_device(&vkbd);
}

static void __exit vkbd_module_exit(void)
{
	vinput_unregister_device(&vkbd);
}

module_init(vkbd_module_init);
module_exit(vkbd_module_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A virtual keyboard for vinput");
