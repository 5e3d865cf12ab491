// SPDX-License-Identifier: GPL-2.0
/*
 * hello-5.c - Parameters: what a module can be told when it is loaded.
 *
 *	insmod hello-5.ko mystring="bebop" myintarray=-1
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>

/*
 * module_param() takes the variable, its type, and the permissions of its file
 * in /sys/module/hello_5/parameters; with 0 there is no such file. A variable
 * that users may write can change at any moment, so be careful with strings.
 */
static short myshort = 1;
module_param(myshort, short, 0660);
MODULE_PARM_DESC(myshort, "A short integer");

static int myint = 420;
module_param(myint, int, 0644);
MODULE_PARM_DESC(myint, "An integer");

static long mylong = 9999;
module_param(mylong, long, 0400);
MODULE_PARM_DESC(mylong, "A long integer");

static char *mystring = "blah";
module_param(mystring, charp, 0444);
MODULE_PARM_DESC(mystring, "A character string");

/*
 * An array also takes a variable that is set to the number of elements given.
 * More than there is room for are refused; the others keep their values. The
 * same variable says how many elements the file in sysfs shows: the init
 * function below sets it to all of them once it has told what was given.
 */
static int myintarray[2] = { 420, 420 };
static unsigned int arguments;
module_param_array(myintarray, int, &arguments, 0444);
MODULE_PARM_DESC(myintarray, "An array of integers");

static int __init hello_5_init(void)
{
	int i;

	pr_info("Hello, world 5\n");
	pr_info("myshort is a short integer: %hd\n", myshort);
	pr_info("myint is an integer: %d\n", myint);
	pr_info("mylong is a long integer: %ld\n", mylong);
	pr_info("mystring is a string: %s\n", mystring);
	for (i = 0; i < ARRAY_SIZE(myintarray); i++)
		pr_info("myintarray[%d] = %d\n", i, myintarray[i]);
	pr_info("got %u arguments for myintarray.\n", arguments);

	arguments = ARRAY_SIZE(myintarray);
	return 0;
}

static void __exit hello_5_exit(void)
{
	pr_info("Goodbye, world 5\n");
}

module_init(hello_5_init);
module_exit(hello_5_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Parameters of a module");
