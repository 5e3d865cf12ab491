// SPDX-License-Identifier: GPL-2.0
/*
 * syscall.c - Spy on a user: log each file that the user opens.
 *
 *	insmod syscall_spy.ko uid=1000
 *
 * The way of the book was to put a function of one's own into sys_call_table,
 * the table of system calls. That has come to its end, on x86 at least: the
 * table is not exported (2.6), is read-only, cannot be looked up (5.7), and from
 * 6.9 on is not used any more (nor in stable kernels since 5.15.154, 6.1.85,
 * 6.6.26 and 6.8.5): the call is made by a switch, whatever the table says.
 *
 * The idea lives on: our function is called whenever the system call is. It is
 * not the table that is changed, though, but the code of the system call: a
 * kprobe puts a jump or a breakpoint at its beginning. The kernel offers that,
 * so any number of modules can probe the same function, and can go in any
 * order, which those that changed the table could not.
 *
 * What a program calls to open a file is in nearly all cases openat(): open()
 * of the C library is that, too. Not seen are openat2(), and 32-bit programs:
 * their system calls have functions of their own.
 *
 * The book loads it as syscall.ko, with the table's address (sym=0x...). That
 * address is not needed any more, and the name is taken: Debian's kernels have
 * a parameter syscall.x32, so the module is syscall_spy.ko.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/init.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <linux/uidgid.h>

#ifndef CONFIG_X86_64
#error "syscall.c reads the arguments of a system call from the registers of x86-64"
#endif

static unsigned int uid = -1; /* which is no user */
module_param(uid, uint, 0644);
MODULE_PARM_DESC(uid, "the number of the user to spy on");

#define NAME_SIZE 256 /* longer names are cut: this is on the stack */

/* What our function remembers from the beginning of a call to its end. */
struct call {
	const char __user *filename;
};

/* Who calls. Not the parameter uid: that may have been changed since it was compared. */
static unsigned int caller(void)
{
	return from_kuid(&init_user_ns, current_uid());
}
NOKPROBE_SYMBOL(caller); /* a probe on what probes use would call itself */

/*
 * Log the name, if it can be read. A probe must not sleep, so it cannot wait
 * until a page is brought in: with page faults disabled, a name in a page that
 * is not there is an error.
 */
static bool log_open(const char __user *filename)
{
	char name[NAME_SIZE];
	long len;

	pagefault_disable();
	len = strncpy_from_user(name, filename, sizeof(name));
	pagefault_enable();
	if (len < 0)
		return false;

	/* %*pE escapes what could fake other lines of the log. */
	pr_info("user %u, process %d (%s) opens: %*pE\n", caller(), task_tgid_nr(current),
		current->comm, (int)len, name);
	return true;
}
NOKPROBE_SYMBOL(log_open);

/*
 * Called at each openat(), before it does anything, for all users.
 * Returns 0 to have our_sys_openat_ends() called when it ends.
 */
static int our_sys_openat(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct call *call = (struct call *)instance->data;
	/*
	 * On x86-64 a system call gets one argument, a pointer to the caller's
	 * registers. The arguments proper are there: openat(di, si, dx, r10).
	 */
	const struct pt_regs *user = (const struct pt_regs *)regs_get_kernel_argument(regs, 0);

	if (!uid_eq(current_uid(), KUIDT_INIT(READ_ONCE(uid))))
		return 1;

	call->filename = (const char __user *)user->si;
	return log_open(call->filename);
}
NOKPROBE_SYMBOL(our_sys_openat);

/* By now the kernel has read the name, so its page is there, unless the pointer was bad. */
static int our_sys_openat_ends(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	const struct call *call = (const struct call *)instance->data;

	if (!log_open(call->filename))
		pr_info("user %u, process %d (%s) opens what cannot be read\n", caller(),
			task_tgid_nr(current), current->comm);
	return 0;
}
NOKPROBE_SYMBOL(our_sys_openat_ends);

static struct kretprobe probe = {
	.kp.symbol_name = "__x64_sys_openat",
	.entry_handler = our_sys_openat,
	.handler = our_sys_openat_ends,
	.data_size = sizeof(struct call),
	.maxactive = 64, /* calls at once that can be watched; more are only counted */
};

static int __init spy_init(void)
{
	int err = register_kretprobe(&probe);

	if (err) {
		pr_err("cannot probe %s: %d\n", probe.kp.symbol_name, err);
		return err;
	}
	pr_info("spying on user %d\n", uid);
	return 0;
}

static void __exit spy_exit(void)
{
	/* Restores the code, and waits for our functions that are running. */
	unregister_kretprobe(&probe);
	pr_info("spying has ended, %d calls were missed\n", probe.nmissed);
}

module_init(spy_init);
module_exit(spy_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Spy on the files that a user opens");
