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
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
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

/* /proc makes inodes when they are needed: tell the one that is there, and those to come. */
static void procfile_set_size(struct file *file, size_t size)
{
	buffer_size = size;
	proc_set_size(procfile, size);
	i_size_write(file_inode(file), size);
}

/*
 * Called for who has passed the permissions; root passes any. Here a writer
 * must be the owner, even if chmod lets others write, or be root.
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

static ssize_t procfile_write(struct file *file, const char __user *from, size_t length,
			      loff_t *offset)
{
	ssize_t ret;

	if (!length)
		return 0;
	if (*offset >= PROCFS_MAX_SIZE)
		return -ENOSPC;

	if (mutex_lock_interruptible(&buffer_lock))
		return -ERESTARTSYS;
	/* Nobody wrote what is between the end and the writer's position. */
	if (*offset > buffer_size)
		memset(buffer + buffer_size, 0, *offset - buffer_size);
	ret = simple_write_to_buffer(buffer, PROCFS_MAX_SIZE, offset, from, length);
	if (ret > 0)
		procfile_set_size(file, *offset);
	mutex_unlock(&buffer_lock);
	return ret;
}

static const struct proc_ops procfile_ops = {
	.proc_open = procfile_open,
	.proc_read = procfile_read,
	.proc_write = procfile_write,
	.proc_lseek = default_llseek, /* knows the size from the inode */
};

static int __init procfs3_init(void)
{
	kuid_t owner = make_kuid(&init_user_ns, uid);

	if (!uid_valid(owner)) {
		pr_err("procfs3: there can be no user %u\n", uid);
		return -EINVAL;
	}

	/* The file can be opened and written at once: let a writer wait until procfile is set. */
	mutex_lock(&buffer_lock);
	procfile = proc_create(PROCFS_NAME, 0644, NULL, &procfile_ops);
	if (procfile)
		proc_set_user(procfile, owner, GLOBAL_ROOT_GID);
	mutex_unlock(&buffer_lock);
	if (!procfile) {
		pr_err("procfs3: cannot create /proc/%s\n", PROCFS_NAME);
		return -ENOMEM;
	}
	pr_info("procfs3: /proc/%s created\n", PROCFS_NAME);
	return 0;
}

static void __exit procfs3_exit(void)
{
	proc_remove(procfile);
	pr_info("procfs3: /proc/%s removed\n", PROCFS_NAME);
}

module_init(procfs3_init);
module_exit(procfs3_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("A file in /proc with an owner, permissions and a size");
