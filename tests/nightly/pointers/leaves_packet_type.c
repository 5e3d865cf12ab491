// SPDX-License-Identifier: GPL-2.0
/* A fault for kmodlab to find: exit leaves a packet type */
#include <linux/module.h>
#include <linux/netdevice.h>

static int receive(struct sk_buff *skb, struct net_device *dev, struct packet_type *type,
		   struct net_device *original)
{
	kfree_skb(skb);
	return NET_RX_SUCCESS;
}

static struct packet_type experimental = {
	.type = htons(0x88b5),
	.func = receive,
};

static int __init fault_init(void)
{
	dev_add_pack(&experimental);
	return 0;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A fault for kmodlab to find: exit leaves a packet type");
