// SPDX-License-Identifier: GPL-2.0
/*
 * hello-1.c - The simplest kernel module.
 *
 * A module begins where it is loaded and ends where it is unloaded. In between
 * it does nothing, unless the kernel calls it.
 */
#include <linux/module.h> /* every module needs this */
#include <linux/printk.h> /* pr_info() */

/*
 * Kernels for x86 with indirect branch tracking (IBT, since 5.18) do not want
 * the first form: they call both functions through pointers, and what may be
 * called so has to be marked. The build warned ("not an indirect call target"),
 * and from 6.15 on it fails ("Magic init_module() function name is deprecated").
 */
#ifndef CONFIG_X86_KERNEL_IBT

/* The first form: the kernel finds the two functions by these names. */
int init_module(void)
{
	pr_info("Hello, world 1.\n");

	/* Anything but 0 means that the module cannot be loaded. */
	return 0;
}

void cleanup_module(void)
{
	pr_info("Goodbye, world 1.\n");
}

#else

/* What replaced it: two macros point at functions of any name. More in hello-2.c. */
static int hello_1_init(void)
{
	pr_info("Hello, world 1.\n");
	return 0;
}

static void hello_1_exit(void)
{
	pr_info("Goodbye, world 1.\n");
}

module_init(hello_1_init);
module_exit(hello_1_exit);

#endif

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("The simplest kernel module");
