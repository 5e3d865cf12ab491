// SPDX-License-Identifier: GPL-2.0
/*
 * procfs1.c - The simplest file in /proc: /proc/helloworld.
 *
 *	cat /proc/helloworld
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/proc_fs.h>
#include <linux/types.h>

#define PROCFS_NAME "helloworld"

static const char hello[] = "HelloWorld!\n";
#define HELLO_LEN (sizeof(hello) - 1) /* without the NUL: a file has a length, not an end mark */

static ssize_t procfile_read(struct file *file, char __user *buffer, size_t length, loff_t *offset)
{
	/*
	 * Called again and again until it returns 0. How much was read before
	 * is in *offset, and this helper keeps it up to date.
	 */
	return simple_read_from_buffer(buffer, length, offset, hello, HELLO_LEN);
}

static loff_t procfile_lseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, HELLO_LEN);
}

/*
 * Before 5.6 this was a struct file_operations, of which /proc used a part.
 *
 * There is no owner: /proc does not count openers. Instead proc_remove() waits
 * for calls that are under way, and no call comes after it; who has the file
 * open then gets an error. So the module can go at any time.
 *
 * Always set .proc_lseek: from 5.13 to 5.19, a seek without it jumped to NULL.
 */
static const struct proc_ops procfile_ops = {
	.proc_read = procfile_read,
	.proc_lseek = procfile_lseek,
};

static struct proc_dir_entry *procfile;

static int __init procfs1_init(void)
{
	procfile = proc_create(PROCFS_NAME, 0444, NULL, &procfile_ops);
	if (!procfile) {
		pr_err("cannot create /proc/%s\n", PROCFS_NAME);
		return -ENOMEM;
	}
	pr_info("/proc/%s created\n", PROCFS_NAME);
	return 0;
}

static void __exit procfs1_exit(void)
{
	proc_remove(procfile);
	pr_info("/proc/%s removed\n", PROCFS_NAME);
}

module_init(procfs1_init);
module_exit(procfs1_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("The simplest file in /proc");
