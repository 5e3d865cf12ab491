// SPDX-License-Identifier: GPL-2.0
/* No fault at all: it uses its memory to the last byte, and reads what is still its own */
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static char *kept, *copy, *wide;
static unsigned long page;

static int __init fault_init(void)
{
	kept = kmalloc(128, GFP_KERNEL);
	copy = kstrdup("a text that is copied", GFP_KERNEL);
	wide = vmalloc(3 * PAGE_SIZE);
	page = __get_free_page(GFP_KERNEL);
	if (kept && copy && wide && page) {
		memset(kept, 0x6b, 128);
		memset(wide, 0x5a, 3 * PAGE_SIZE);
		memset((void *)page, 0xaa, PAGE_SIZE);
		return 0;
	}
	free_page(page);
	vfree(wide);
	kfree(copy);
	kfree(kept);
	return -ENOMEM;
}
module_init(fault_init);

static void __exit fault_exit(void)
{
	char *more = krealloc(kept, 256, GFP_KERNEL);

	if (more) {
		kept = more;
		memset(kept, 1, 256);
	}
	kfree(kept);
	kfree(NULL);
	kfree(copy);
	vfree(wide);
	memset((void *)page, 1, PAGE_SIZE);
	free_page(page);
}
module_exit(fault_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION(
	"No fault at all: it uses its memory to the last byte, and reads what is still its own");
