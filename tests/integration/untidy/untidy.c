// SPDX-License-Identifier: GPL-2.0
/* Builds, loads and works, and yet W=1 and sparse have something to say about it. */
#include <linux/compiler.h>
#include <linux/module.h>

int shared; /* sparse: should it be static? */

int without_prototype(int __user *pointer) /* W=1: no previous prototype */
{
	return *pointer; /* sparse: only copy_from_user() may do that */
}

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for the static checks to find");
