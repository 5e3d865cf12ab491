// SPDX-License-Identifier: GPL-2.0
/* No fault at all: exit takes back whatever was registered */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/reboot.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>

static const struct file_operations operations = { .owner = THIS_MODULE };
static struct cdev device;
static dev_t number;

static unsigned int accept(void *data, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return NF_ACCEPT;
}

static const struct nf_hook_ops hook = {
	.hook = accept,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_FORWARD,
};

static int note(struct notifier_block *block, unsigned long action, void *data)
{
	return NOTIFY_DONE;
}

static struct notifier_block block = { .notifier_call = note };

static struct genl_family family = {
	.name = KBUILD_MODNAME,
	.version = 1,
	.module = THIS_MODULE,
};

static int __init fault_init(void)
{
	int result = alloc_chrdev_region(&number, 0, 1, KBUILD_MODNAME);

	if (result)
		return result;
	cdev_init(&device, &operations);
	result = cdev_add(&device, number, 1);
	if (result)
		goto no_device;
	result = genl_register_family(&family);
	if (result)
		goto no_family;
	result = register_reboot_notifier(&block);
	if (result)
		goto no_notifier;
	result = nf_register_net_hook(&init_net, &hook);
	if (!result)
		return 0;
	unregister_reboot_notifier(&block);
no_notifier:
	genl_unregister_family(&family);
no_family:
	cdev_del(&device);
no_device:
	unregister_chrdev_region(number, 1);
	return result;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	nf_unregister_net_hook(&init_net, &hook);
	unregister_reboot_notifier(&block);
	genl_unregister_family(&family);
	cdev_del(&device);
	unregister_chrdev_region(number, 1);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("No fault at all: exit takes back whatever was registered");
