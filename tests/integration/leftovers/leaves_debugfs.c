// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a file in debugfs, in a folder of the kernel's */
#include <linux/debugfs.h>
#include <linux/module.h>

static int __init fault_init(void)
{
	struct dentry *folder = debugfs_lookup("bdi", NULL);

	debugfs_create_dir("left_here", folder);
	dput(folder);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"A fault for kmodlab to find: exit leaves a file in debugfs, in a folder of the kernel's");
