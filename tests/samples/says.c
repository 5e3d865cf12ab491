// SPDX-License-Identifier: GPL-2.0
/*
 * Makes a kernel say what kmodlab's classifier must know: one fault for each word that the parameter `what` may be.
 * record.py loads it on the fleet's kernels and keeps what they say as tests/unit/judge/samples.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/etherdevice.h>
#include <linux/highmem.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kobject.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/platform_device.h>
#include <linux/pm_runtime.h>
#include <linux/proc_fs.h>
#include <linux/rculist.h>
#include <linux/refcount.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysctl.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#ifdef CONFIG_X86
#include <asm/msr.h>
#endif

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "the fault to make");

static volatile int zero, sixteen = 16, forty = 40;
static int owner, number;
static char *volatile pointer;
static DEFINE_SPINLOCK(lock_a);
static DEFINE_SPINLOCK(lock_b);
static DEFINE_MUTEX(mutex_a);
static DEFINE_MUTEX(mutex_b);

static int oops_null(void)
{
	return *pointer;
}

static int oops_wild(void)
{
	pointer = (char *)0xdead000000000100UL;
	return *pointer;
}

static int oops_page(void)
{
	pointer = (char *)0xffffc90000000000UL + 0x12345000;
	*pointer = 1;
	return 0;
}

static int oops_divide(void)
{
	return 16 / zero;
}

static int oops_call(void)
{
	void (*volatile nowhere)(void) = NULL;

	nowhere();
	return 0;
}

static int oops_data(void)
{
	static int data[4] = { 1, 2, 3, 4 };
	void (*volatile function)(void) = (void *)data;

	function();
	return 0;
}

static int oops_breakpoint(void)
{
#ifdef CONFIG_X86
	asm volatile("int3");
#endif
	return 0;
}

static int says_bug(void)
{
	BUG();
	return 0;
}

static int says_warn(void)
{
	WARN(1, "this is not right: %d\n", sixteen);
	return 0;
}

static int says_warn_on(void)
{
	WARN_ON(sixteen);
	return 0;
}

static int says_refcount(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
	refcount_dec(&count);
	return 0;
}

static int says_list(void)
{
	static LIST_HEAD(head);
	static struct list_head entry;

	list_add(&entry, &head);
	list_del(&entry);
	list_del(&entry);
	return 0;
}

static int says_list_add(void)
{
	static LIST_HEAD(head);
	static struct list_head entry;

	list_add(&entry, &head);
	list_add(&entry, &head);
	return 0;
}

static int says_usercopy(void)
{
	char *object = kzalloc(64, GFP_KERNEL);
	unsigned long user =
		vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, 0);

	return copy_to_user((void __user *)user, object, sixteen * 16);
}

static int says_fortify(void)
{
	static struct {
		char name[8];
		char next[64];
	} both;
	static char from[80];

	memcpy(both.name, from, sixteen);
	return both.next[0];
}

static int says_overflow(void)
{
	static char name[8], from[80];

	memcpy(name, from, sixteen);
	return name[0];
}

static int says_atomic(void)
{
	spin_lock(&lock_a);
	msleep(20);
	spin_unlock(&lock_a);
	return 0;
}

static int says_sleeping(void)
{
	spin_lock(&lock_a);
	mutex_lock(&mutex_a);
	mutex_unlock(&mutex_a);
	spin_unlock(&lock_a);
	return 0;
}

static int says_imbalance(void)
{
	preempt_disable();
	return 0;
}

static int says_positive(void)
{
	return 7;
}

static irqreturn_t handler(int irq, void *data)
{
	return IRQ_HANDLED;
}

static int says_irq_mismatch(void)
{
	return request_irq(9, handler, 0, "says", &owner);
}

static int says_irq_free(void)
{
	free_irq(5, &owner);
	return 0;
}

static int says_irq_thread(void)
{
	return request_threaded_irq(5, NULL, handler, 0, "says", &owner);
}

static int says_sysfs_duplicate(void)
{
	struct kobject *first = kobject_create_and_add("says", kernel_kobj);

	return kobject_create_and_add("says", kernel_kobj) == first;
}

static struct device bare;

static int says_release(void)
{
	device_initialize(&bare);
	dev_set_name(&bare, "bare");
	put_device(&bare);
	return 0;
}

static int says_kobject_put(void)
{
	static struct kobject object;

	kobject_put(&object);
	return 0;
}

static int says_kobject_init(void)
{
	kobject_init(&bare.kobj, get_ktype(kernel_kobj));
	kobject_init(&bare.kobj, get_ktype(kernel_kobj));
	return 0;
}

static int says_debugfs(void)
{
	debugfs_create_dir("says", NULL);
	debugfs_create_dir("says", NULL);
	return 0;
}

static int says_proc_twice(void)
{
	proc_mkdir("says", NULL);
	proc_mkdir("says", NULL);
	return 0;
}

static int says_proc_absent(void)
{
	remove_proc_entry("says-not", NULL);
	return 0;
}

static int says_proc_left(void)
{
	struct proc_dir_entry *folder = proc_mkdir("says", NULL);

	proc_mkdir("inner", folder);
	remove_proc_entry("says", NULL);
	return 0;
}

static int says_cache_left(void)
{
	struct kmem_cache *cache = kmem_cache_create("says_cache", 72, 0, SLAB_POISON, NULL);

	pointer = kmem_cache_alloc(cache, GFP_KERNEL);
	kmem_cache_destroy(cache);
	return 0;
}

static int says_cache_twice(void)
{
	kmem_cache_create("says_cache", 72, 0, SLAB_POISON, NULL);
	kmem_cache_create("says_cache", 72, 0, SLAB_POISON, NULL);
	return 0;
}

static struct kmem_cache *checked(const char *name)
{
	return kmem_cache_create(
		name, 72, 0,
		SLAB_POISON | SLAB_RED_ZONE | SLAB_STORE_USER | SLAB_CONSISTENCY_CHECKS, NULL);
}

static int says_poison(void)
{
	struct kmem_cache *cache = checked("says_cache");
	char *object = kmem_cache_alloc(cache, GFP_KERNEL);

	kmem_cache_free(cache, object);
	pointer = object;
	pointer[8] = 1;
	kmem_cache_alloc(cache, GFP_KERNEL);
	return 0;
}

static int says_redzone(void)
{
	struct kmem_cache *cache = checked("says cache with blanks");

	pointer = kmem_cache_alloc(cache, GFP_KERNEL);
	pointer[72] = 1;
	kmem_cache_free(cache, pointer);
	return 0;
}

static int says_double_free(void)
{
	struct kmem_cache *cache = checked("says_cache");

	pointer = kmem_cache_alloc(cache, GFP_KERNEL);
	kmem_cache_free(cache, pointer);
	kmem_cache_free(cache, pointer);
	return 0;
}

static int says_kfree_twice(void)
{
	pointer = kmalloc(96, GFP_KERNEL);
	kfree(pointer);
	kfree(pointer);
	return 0;
}

static int says_wrong_cache(void)
{
	struct kmem_cache *cache = checked("says_cache");
	struct kmem_cache *other = checked("says_other");

	pointer = kmem_cache_alloc(cache, GFP_KERNEL);
	kmem_cache_free(other, pointer);
	return 0;
}

static int says_page(void)
{
	struct page *page = alloc_page(GFP_KERNEL);

	get_page(page);
	page->mapping = (void *)0x1000;
	put_page(page);
	__free_page(page);
	return 0;
}

static int says_resource(void)
{
	release_region(0x4321, 4);
	return 0;
}

static int says_iounmap(void)
{
	iounmap((void __iomem *)vmalloc(PAGE_SIZE) + 3 * PAGE_SIZE);
	return 0;
}

static int says_vfree(void)
{
	vfree(vmalloc(PAGE_SIZE) + 16 * PAGE_SIZE);
	return 0;
}

static int says_gfp(void)
{
	pointer = kmem_cache_alloc(checked("says_cache"), GFP_KERNEL | __GFP_HIGHMEM);
	return 0;
}

static int says_timeout(void)
{
	set_current_state(TASK_INTERRUPTIBLE);
	schedule_timeout(-3);
	set_current_state(TASK_RUNNING);
	return 0;
}

static struct ctl_table no_handler[] = { { .procname = "says", .mode = 0644, .maxlen = 4 }, {} };
static struct ctl_table handled[] = { { .procname = "says",
					.mode = 0644,
					.maxlen = 4,
					.data = &number,
					.proc_handler = proc_dointvec },
				      {} };

static int says_sysctl_check(void)
{
	register_sysctl("kernel", no_handler);
	return 0;
}

static int says_sysctl_twice(void)
{
	register_sysctl("kernel", handled);
	register_sysctl("kernel", handled);
	return 0;
}

static struct platform_driver driver = { .driver = { .name = "says" } };

static int says_driver(void)
{
	platform_driver_register(&driver);
	platform_driver_register(&driver);
	return 0;
}

static int says_msr(void)
{
#ifdef CONFIG_X86
	u32 low, high;

	rdmsr(0xdead, low, high);
	return low == high ? 0 : 0;
#else
	return 0;
#endif
}

static int says_too_large(void)
{
	pointer = kmalloc(16 << 20, GFP_KERNEL);
	return 0;
}

static int says_vmalloc(void)
{
	pointer = vmalloc(1UL << 40);
	return 0;
}

static int says_percpu(void)
{
	void __percpu *all = __alloc_percpu(1 << 20, 8);

	return all ? 0 : 0;
}

static int says_runtime_pm(void)
{
	struct platform_device *device = platform_device_register_simple("says", -1, NULL, 0);

	pm_runtime_enable(&device->dev);
	pm_runtime_enable(&device->dev);
	pm_runtime_disable(&device->dev);
	pm_runtime_put_sync(&device->dev);
	return 0;
}

static int asleep(void *data)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	schedule();
	return 0;
}

static int says_hung(void)
{
	kthread_run(asleep, NULL, "says in\nlines");
	return 0;
}

static int says_soft_lockup(void)
{
	unsigned long end = jiffies + 15 * HZ;

	preempt_disable();
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
	return 0;
}

static int says_rcu_stall(void)
{
	unsigned long end = jiffies + 15 * HZ;

	rcu_read_lock();
	while (time_before(jiffies, end))
		cond_resched();
	rcu_read_unlock();
	return 0;
}

static void leaky(struct work_struct *work)
{
	preempt_disable();
}

static void locked_work(struct work_struct *work)
{
	mutex_lock(&mutex_a);
}

static DECLARE_WORK(leaks, leaky);
static DECLARE_WORK(locks, locked_work);

static int says_work_leaks(void)
{
	schedule_work(&leaks);
	msleep(200);
	return 0;
}

static int says_work_locks(void)
{
	schedule_work(&locks);
	msleep(200);
	return 0;
}

static void wrong_count(struct timer_list *timer)
{
	preempt_disable();
}

static void do_nothing(struct timer_list *timer)
{
}

static DEFINE_TIMER(leaking_timer, wrong_count);

static int says_timer_leaks(void)
{
	mod_timer(&leaking_timer, jiffies + 1);
	msleep(200);
	return 0;
}

static int says_timer_null(void)
{
	static struct timer_list timer;

	mod_timer(&timer, jiffies + 1);
	msleep(200);
	return 0;
}

static int says_panic(void)
{
	panic("nothing can be done");
	return 0;
}

static noinline int smash(void)
{
	char small[16];

	memset(small + zero, 0x41, 16 + forty);
	barrier_data(small);
	return small[3];
}

static noinline int deeper(int depth)
{
	volatile char large[512];

	large[depth & 511] = depth;
	barrier_data((void *)large);
	return zero ? 0 : deeper(depth + 1) + large[depth & 255];
}

static int says_overflowing_stack(void)
{
	return deeper(0);
}

static int says_stack_end(void)
{
#ifndef CONFIG_THREAD_INFO_IN_TASK
	return 0;
#else
	*(unsigned long *)end_of_stack(current) = 0;
	msleep(20);
	return 0;
#endif
}

static void setup(struct net_device *device)
{
	ether_setup(device);
}

static netdev_tx_t start_xmit(struct sk_buff *skb, struct net_device *device)
{
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops operations = { .ndo_start_xmit = start_xmit };

static int goes(void *data)
{
	unregister_netdev(data);
	return 0;
}

static int says_netdev(void)
{
	struct net_device *device = alloc_netdev(0, "says%d", NET_NAME_UNKNOWN, setup);

	device->netdev_ops = &operations;
	eth_hw_addr_random(device);
	if (register_netdev(device))
		return -EBUSY;
	dev_hold(device);
	kthread_run(goes, device, "goes");
	return 0;
}

static int says_ioremap(void)
{
	void __iomem *ram = ioremap(0x1000000, PAGE_SIZE);

	if (ram)
		iounmap(ram);
	return 0;
}

static int says_symlink(void)
{
	return sysfs_create_link(kernel_kobj, kernel_kobj, "says") ||
			       sysfs_create_link(kernel_kobj, kernel_kobj, "says")
		       ? 0
		       : 0;
}

static int says_stuck_free(void)
{
	kfree((void *)0xffff888000000010UL);
	return 0;
}

/* For kernels that look for such things. */

static int says_oob(void)
{
	pointer = kmalloc(96, GFP_KERNEL);
	pointer[96 + zero] = 1;
	return 0;
}

static int says_uaf(void)
{
	pointer = kmalloc(96, GFP_KERNEL);
	kfree(pointer);
	return pointer[zero] == 5;
}

static int says_stack_oob(void)
{
	volatile char small[16];

	barrier_data((void *)small);
	return small[forty] == 3;
}

static char global[16];

static int says_global_oob(void)
{
	return ((volatile char *)global)[16 + zero] == 3;
}

static int says_invalid_free(void)
{
	kfree(kmalloc(96, GFP_KERNEL) + 8);
	return 0;
}

static int says_vmalloc_oob(void)
{
	pointer = vmalloc(100);
	return pointer[100 + zero] == 3;
}

static int says_user_access(void)
{
	pointer = (char *)vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
				  MAP_ANONYMOUS | MAP_PRIVATE, 0);
	return *pointer == 3;
}

static int says_circular(void)
{
	mutex_lock(&mutex_a);
	mutex_lock(&mutex_b);
	mutex_unlock(&mutex_b);
	mutex_unlock(&mutex_a);
	mutex_lock(&mutex_b);
	mutex_lock(&mutex_a);
	mutex_unlock(&mutex_a);
	mutex_unlock(&mutex_b);
	return 0;
}

static int says_recursive(void)
{
	static struct mutex two[2];
	int i;

	for (i = 0; i < 2; i++)
		mutex_init(&two[i]);
	mutex_lock(&two[0]);
	mutex_lock(&two[1]);
	mutex_unlock(&two[1]);
	mutex_unlock(&two[0]);
	return 0;
}

static void takes_lock(struct timer_list *timer)
{
	spin_lock(&lock_a);
	spin_unlock(&lock_a);
}

static DEFINE_TIMER(locking_timer, takes_lock);

static int says_inconsistent(void)
{
	spin_lock(&lock_a);
	spin_unlock(&lock_a);
	mod_timer(&locking_timer, jiffies + 1);
	msleep(200);
	return 0;
}

static int says_safe_unsafe(void)
{
	mod_timer(&locking_timer, jiffies + 1);
	msleep(200);
	spin_lock(&lock_b);
	spin_unlock(&lock_b);
	spin_lock_bh(&lock_a);
	spin_lock(&lock_b);
	spin_unlock(&lock_b);
	spin_unlock_bh(&lock_a);
	return 0;
}

static int says_inversion(void)
{
	spin_lock_bh(&lock_a);
	spin_lock(&lock_b);
	spin_unlock(&lock_b);
	spin_unlock_bh(&lock_a);
	spin_lock(&lock_b);
	spin_unlock(&lock_b);
	mod_timer(&locking_timer, jiffies + 1);
	msleep(200);
	return 0;
}

static int says_unbalanced(void)
{
	mutex_unlock(&mutex_a);
	return 0;
}

static int says_unbalanced_spin(void)
{
	spin_unlock(&lock_a);
	return 0;
}

static int says_held_freed(void)
{
	struct mutex *mutex = kmalloc(sizeof(*mutex), GFP_KERNEL);

	mutex_init(mutex);
	mutex_lock(mutex);
	kfree(mutex);
	return 0;
}

static int says_held_returning(void)
{
	mutex_lock(&mutex_a);
	return 0;
}

static int says_nested(void)
{
	mutex_lock_nest_lock(&mutex_a, &mutex_b);
	mutex_unlock(&mutex_a);
	return 0;
}

static int says_not_initialised(void)
{
	static spinlock_t never;

	spin_lock(&never);
	spin_unlock(&never);
	return 0;
}

static int says_no_key(void)
{
	struct mutex *mutex = kzalloc(sizeof(*mutex), GFP_KERNEL);

	mutex_lock(mutex);
	return 0;
}

static int says_spin_twice(void)
{
	spin_lock(&lock_a);
	spin_trylock(&lock_a);
	spin_lock(&lock_a);
	return 0;
}

static int says_rcu(void)
{
	static int __rcu *shared;

	return rcu_dereference(shared) ? 0 : 0;
}

static int says_rcu_sleeps(void)
{
	rcu_read_lock();
	msleep(20);
	rcu_read_unlock();
	return 0;
}

static int says_leak(void)
{
	pointer = kmalloc(1000, GFP_KERNEL);
	pointer = NULL;
	return 0;
}

static int says_shift(void)
{
	return 1 << forty;
}

static int says_index(void)
{
	static int four[4];

	return four[sixteen] == 3;
}

static int says_timer_freed(void)
{
	struct timer_list *timer = kmalloc(sizeof(*timer), GFP_KERNEL);

	timer_setup(timer, do_nothing, 0);
	mod_timer(timer, jiffies + 100 * HZ);
	kfree(timer);
	return 0;
}

static int says_work_freed(void)
{
	struct delayed_work *work = kmalloc(sizeof(*work), GFP_KERNEL);

	INIT_DELAYED_WORK(work, leaky);
	schedule_delayed_work(work, 100 * HZ);
	kfree(work);
	return 0;
}

static int says_on_stack(void)
{
	struct work_struct work;

	INIT_WORK(&work, leaky);
	return 0;
}

static int says_state(void)
{
	set_current_state(TASK_INTERRUPTIBLE);
	mutex_lock(&mutex_a);
	mutex_unlock(&mutex_a);
	return 0;
}

static int says_smp_id(void)
{
	return smp_processor_id() == 77;
}

static const struct {
	const char *name;
	int (*make)(void);
} words[] = {
	{ "oops-null", oops_null },
	{ "oops-wild", oops_wild },
	{ "oops-page", oops_page },
	{ "oops-divide", oops_divide },
	{ "oops-call", oops_call },
	{ "oops-data", oops_data },
	{ "oops-int3", oops_breakpoint },
	{ "bug", says_bug },
	{ "warning", says_warn },
	{ "warning-on", says_warn_on },
	{ "refcount", says_refcount },
	{ "list-corruption-del", says_list },
	{ "list-corruption-add", says_list_add },
	{ "fortify-copy", says_usercopy },
	{ "fortify-span", says_fortify },
	{ "fortify-memcpy", says_overflow },
	{ "atomic-sleep-scheduling", says_atomic },
	{ "atomic-sleep-function", says_sleeping },
	{ "atomic-sleep-imbalance", says_imbalance },
	{ "atomic-sleep-blocking", says_state },
	{ "init-return", says_positive },
	{ "irq-flags", says_irq_mismatch },
	{ "irq-not-there", says_irq_free },
	{ "irq-thread", says_irq_thread },
	{ "sysfs-duplicate-kobject", says_sysfs_duplicate },
	{ "sysfs-duplicate-link", says_symlink },
	{ "sysfs-duplicate-debug", says_debugfs },
	{ "kobject-no-release", says_release },
	{ "kobject-not-init", says_kobject_put },
	{ "kobject-init-twice", says_kobject_init },
	{ "proc-leftover-twice", says_proc_twice },
	{ "proc-leftover-none", says_proc_absent },
	{ "proc-leftover-inner", says_proc_left },
	{ "slab-leftover-cache", says_cache_left },
	{ "slab-leftover-twice", says_cache_twice },
	{ "slab-corruption-poison", says_poison },
	{ "slab-corruption-redzone", says_redzone },
	{ "slab-corruption-twice", says_double_free },
	{ "slab-corruption-kfree", says_kfree_twice },
	{ "slab-corruption-other", says_wrong_cache },
	{ "oops-stray", says_stuck_free },
	{ "bad-page-state", says_page },
	{ "resource-region", says_resource },
	{ "resource-iounmap", says_iounmap },
	{ "resource-vfree", says_vfree },
	{ "resource-ioremap", says_ioremap },
	{ "resource-gfp", says_gfp },
	{ "timer-timeout", says_timeout },
	{ "timer-leaks", says_timer_leaks },
	{ "timer-null", says_timer_null },
	{ "sysctl-check", says_sysctl_check },
	{ "sysctl-twice", says_sysctl_twice },
	{ "registered-twice-driver", says_driver },
	{ "msr", says_msr },
	{ "warning-kmalloc", says_too_large },
	{ "out-of-memory-vmalloc", says_vmalloc },
	{ "out-of-memory-percpu", says_percpu },
	{ "runtime-pm", says_runtime_pm },
	{ "hung-task", says_hung },
	{ "soft-lockup", says_soft_lockup },
	{ "rcu-stall", says_rcu_stall },
	{ "workqueue-leaks", says_work_leaks },
	{ "workqueue-locks", says_work_locks },
	{ "panic", says_panic },
	{ "stack-corruption-smash", smash },
	{ "stack-corruption-deep", says_overflowing_stack },
	{ "stack-corruption-mark", says_stack_end },
	{ "network-unregister", says_netdev },
	{ "kasan-out", says_oob },
	{ "kasan-use", says_uaf },
	{ "kasan-stack", says_stack_oob },
	{ "kasan-global", says_global_oob },
	{ "kasan-invalid", says_invalid_free },
	{ "kasan-vmalloc", says_vmalloc_oob },
	{ "oops-user", says_user_access },
	{ "lockdep-circle", says_circular },
	{ "lockdep-recursion", says_recursive },
	{ "lockdep-state", says_inconsistent },
	{ "lockdep-unsafe", says_safe_unsafe },
	{ "lockdep-inversion", says_inversion },
	{ "lockdep-unbalanced", says_unbalanced },
	{ "lockdep-unbalanced-spin", says_unbalanced_spin },
	{ "lockdep-held-freed", says_held_freed },
	{ "lockdep-held-returning", says_held_returning },
	{ "lockdep-nested", says_nested },
	{ "lockdep-no-key", says_no_key },
	{ "spinlock-magic", says_not_initialised },
	{ "spinlock-twice", says_spin_twice },
	{ "rcu-usage-dereference", says_rcu },
	{ "rcu-usage-sleeps", says_rcu_sleeps },
	{ "kmemleak-lost", says_leak },
	{ "ubsan-shift", says_shift },
	{ "ubsan-index", says_index },
	{ "timer-active", says_timer_freed },
	{ "timer-work", says_work_freed },
	{ "debug-objects-stack", says_on_stack },
	{ "other-bug-smp", says_smp_id },
};

static int __init says_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(what, words[i].name))
			return words[i].make();
	}
	pr_err("nothing is called '%s'\n", what);
	return -EINVAL;
}

static void __exit says_exit(void)
{
}

module_init(says_init);
module_exit(says_exit);
MODULE_DESCRIPTION("Makes a kernel say what a classifier of its log must know");
MODULE_LICENSE("GPL");
