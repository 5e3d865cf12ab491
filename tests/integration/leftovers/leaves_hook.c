// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a hook of netfilter */
#include <linux/module.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <net/net_namespace.h>

static unsigned int accept(void *data, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return NF_ACCEPT;
}

static const struct nf_hook_ops hook = {
	.hook = accept,
	.pf = NFPROTO_IPV4,
	.hooknum = NF_INET_FORWARD,
};

static int __init fault_init(void)
{
	return nf_register_net_hook(&init_net, &hook);
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a hook of netfilter");
