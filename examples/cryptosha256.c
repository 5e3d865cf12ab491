// SPDX-License-Identifier: GPL-2.0
/*
 * cryptosha256.c - Hash a string with the kernel's crypto API.
 *
 * Compare the result with: printf %s 'This is a test' | sha256sum
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <crypto/hash.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/types.h>

static char *text = "This is a test";
module_param(text, charp, 0444);
MODULE_PARM_DESC(text, "the string to hash");

static int __init cryptosha256_init(void)
{
	u8 digest[HASH_MAX_DIGESTSIZE];
	struct crypto_shash *sha256;
	int err;

	/*
	 * Who always wants SHA-256 takes sha256() of the kernel's library
	 * (crypto/sha2.h). This API is for a choice of algorithms, by name.
	 *
	 * A transformation is looked up by name. The kernel picks the fastest
	 * implementation that it has, and loads a module for it if it must.
	 */
	sha256 = crypto_alloc_shash("sha256", 0, 0);
	if (IS_ERR(sha256)) {
		pr_err("this kernel has no sha256: %pe\n", sha256);
		return PTR_ERR(sha256);
	}

	/*
	 * All the data at once. For data that comes in pieces there are
	 * crypto_shash_init(), _update() and _final().
	 */
	err = crypto_shash_tfm_digest(sha256, text, strlen(text), digest);
	if (!err) {
		pr_info("sha256 test for string: \"%s\"\n", text);
		pr_info("sha256: %*phN\n", crypto_shash_digestsize(sha256), digest);
	}

	crypto_free_shash(sha256);
	return err;
}

static void __exit cryptosha256_exit(void)
{
}

module_init(cryptosha256_init);
module_exit(cryptosha256_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Hash a string with the kernel's crypto API");
