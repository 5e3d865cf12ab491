// SPDX-License-Identifier: GPL-2.0
/* Does nothing, for as long as a timer of another module may take. */
#include <linux/delay.h>
#include <linux/module.h>

static int __init bystander_init(void)
{
	ssleep(12);
	return 0;
}
module_init(bystander_init);

static void __exit bystander_exit(void)
{
}
module_exit(bystander_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Does nothing, slowly");
