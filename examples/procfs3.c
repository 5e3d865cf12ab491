// SPDX-License-Identifier: GPL-2.0
/*
 * procfs3.c - A file in /proc with an owner, permissions and a size: /proc/buffer2k.
 *
 *	insmod procfs3.ko uid=1000
 *	ls -l /proc/buffer2k
 *
 * These belong to the inode: what a file is, wherever it is linked. What can be
 * done with it once it is open belongs to the file (here, struct proc_ops).
 * Modules used to bring inode operations of their own, with a function that
 * decided who may open the file. Since 3.10 the inodes of /proc are its own
 * affair: a module names owner, permissions and size, and can decide more in
 * its open function.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uidgid.h>

#define PROCFS_NAME "buffer2k"
#define PROCFS_MAX_SIZE 2048

static unsigned int uid;
module_param(uid, uint, 0444);
MODULE_PARM_DESC(uid, "the owner of the file: a user's number (0, root)");

static DEFINE_MUTEX(buffer_lock);
static char buffer[PROCFS_MAX_SIZE];
static size_t buffer_size;

static struct proc_dir_entry *procfile;

/*
 * What stat() shows. /proc makes inodes when they are needed: tell the one that
 * the writer has open, and those to come. Another mount of /proc, in a
 * container, has inodes of its own, and shows the old size until it needs a new
 * one: nothing here may rely on it.
 */
static void procfile_set_size(struct file *file, size_t size)
{
	proc_set_size(procfile, size);
	i_size_write(file_inode(file), size);
}

/*
 * The kernel has looked at the permissions by now; it lets root do anything.
 * This decides more: a writer must be the owner or root, even after a chmod
 * that lets everybody write. That holds once proc_set_user() below has named
 * the owner: in the moment before, the file is root's.
 *
 * O_TRUNC (": > /proc/buffer2k") changes nothing: /proc ignores it.
 */
static int procfile_open(struct inode *inode, struct file *file)
{
	if (!(file->f_mode & FMODE_WRITE))
		return 0;
	if (uid_eq(current_fsuid(), inode->i_uid) || uid_eq(current_fsuid(), GLOBAL_ROOT_UID))
		return 0;
	return -EACCES;
}

static ssize_t procfile_read(struct file *file, char __user *to, size_t length, loff_t *offset)
{
	ssize_t ret;

	if (mutex_lock_interruptible(&buffer_lock))
		return -ERESTARTSYS;
	ret = simple_read_from_buffer(to, length, offset, buffer, buffer_size);
	mutex_unlock(&buffer_lock);
	return ret;
}

/* Put @length bytes at @offset: there the contents end. The caller holds the lock. */
static void put_text(const char *text, size_t length, loff_t offset)
{
	lockdep_assert_held(&buffer_lock); /* checked where the kernel has PROVE_LOCKING */

	/* Nobody wrote what is between the end and the writer's position. */
	if (offset > buffer_size)
		memset(buffer + buffer_size, 0, offset - buffer_size);
	memcpy(buffer + offset, text, length);
	WRITE_ONCE(buffer_size, offset + length);
}

/* As in procfs2.c: a copy first, so that a write that fails changes nothing. */
static ssize_t procfile_write(struct file *file, const char __user *from, size_t length,
			      loff_t *offset)
{
	char *text;

	if (!length)
		return 0;
	if (*offset >= PROCFS_MAX_SIZE)
		return -ENOSPC;
	length = min_t(size_t, length, PROCFS_MAX_SIZE - *offset);

	text = memdup_user(from, length);
	if (IS_ERR(text))
		return PTR_ERR(text);

	if (mutex_lock_interruptible(&buffer_lock)) {
		kfree(text);
		return -ERESTARTSYS;
	}
	put_text(text, length, *offset);
	*offset += length;
	procfile_set_size(file, *offset);
	mutex_unlock(&buffer_lock);
	kfree(text);
	return length;
}

static loff_t procfile_lseek(struct file *file, loff_t offset, int whence)
{
	return generic_file_llseek_size(file, offset, whence, PROCFS_MAX_SIZE,
					READ_ONCE(buffer_size));
}

static const struct proc_ops procfile_ops = {
	.proc_open = procfile_open,
	.proc_read = procfile_read,
	.proc_write = procfile_write,
	.proc_lseek = procfile_lseek,
};

static int __init procfs3_init(void)
{
	kuid_t owner = make_kuid(&init_user_ns, uid);

	if (!uid_valid(owner)) {
		pr_err("there can be no user %u\n", uid);
		return -EINVAL;
	}

	/* The file can be opened and written at once: let a writer wait until procfile is set. */
	mutex_lock(&buffer_lock);
	procfile = proc_create(PROCFS_NAME, 0644, NULL, &procfile_ops);
	if (procfile)
		proc_set_user(procfile, owner, GLOBAL_ROOT_GID);
	mutex_unlock(&buffer_lock);
	if (!procfile) {
		pr_err("cannot create /proc/%s\n", PROCFS_NAME);
		return -ENOMEM;
	}
	pr_info("/proc/%s created\n", PROCFS_NAME);
	return 0;
}

static void __exit procfs3_exit(void)
{
	proc_remove(procfile);
	pr_info("/proc/%s removed\n", PROCFS_NAME);
}

module_init(procfs3_init);
module_exit(procfs3_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A file in /proc with an owner, permissions and a size");
