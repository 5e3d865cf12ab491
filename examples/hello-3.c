// SPDX-License-Identifier: GPL-2.0
/*
 * hello-3.c - Code and data that are needed only once: __init and __exit.
 *
 * __init and __initdata go into sections of their own, which the kernel frees
 * once the init function has returned; so nothing may use them later. __exit
 * goes into one that is left out where the code is built into the kernel and
 * can never be unloaded.
 *
 * The book says that __init has no effect in a loadable module. It has: since
 * 2.6 the kernel frees that part of a module, too.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

static char hello_3_data[] __initdata = "world 3";

static int __init hello_3_init(void)
{
	pr_info("Hello, %s\n", hello_3_data);
	return 0;
}

static void __exit hello_3_exit(void)
{
	/* hello_3_data is gone by now. */
	pr_info("Goodbye, world 3\n");
}

module_init(hello_3_init);
module_exit(hello_3_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Code and data that are freed once the module is loaded");
