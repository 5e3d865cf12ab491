// SPDX-License-Identifier: GPL-2.0
/*
 * cryptosk.c - Encrypt and decrypt a string with a symmetric key: AES.
 *
 * The log shows what OpenSSL computes from the same key and the logged
 * initialisation vector:
 *
 *	printf %s 'Testing encryption' |
 *	openssl enc -aes-256-cbc -K <the password as hex, zeros to 64 digits> -iv <iv> | xxd -p
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <crypto/aes.h>
#include <crypto/skcipher.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>

static char *text = "Testing encryption";
module_param(text, charp, 0444);
MODULE_PARM_DESC(text, "the string to encrypt");

static char *password = "password123";
module_param(password, charp, 0400);
MODULE_PARM_DESC(password, "the key: up to 32 characters");

enum direction { DECRYPT, ENCRYPT };

/*
 * One pass of AES in CBC mode over @len bytes at @data, in place. The data must
 * come from kmalloc(): a scatterlist names pages, so that hardware can reach
 * them, and the stack need not be made of such pages.
 */
static int crypt(struct crypto_skcipher *aes, enum direction direction, const u8 *iv, u8 *data,
		 unsigned int len)
{
	u8 chain[AES_BLOCK_SIZE];
	struct skcipher_request *req;
	struct scatterlist sg;
	DECLARE_CRYPTO_WAIT(wait);
	int err;

	req = skcipher_request_alloc(aes, GFP_KERNEL);
	if (!req)
		return -ENOMEM;

	/* The cipher changes the vector as it goes: give it a copy. */
	memcpy(chain, iv, sizeof(chain));
	sg_init_one(&sg, data, len);
	skcipher_request_set_crypt(req, &sg, &sg, len, chain);

	/*
	 * A request may be queued, for a crypto engine or a thread, and end
	 * later: crypto_req_done() wakes crypto_wait_req() then.
	 */
	skcipher_request_set_callback(req, CRYPTO_TFM_REQ_MAY_BACKLOG | CRYPTO_TFM_REQ_MAY_SLEEP,
				      crypto_req_done, &wait);
	if (direction == ENCRYPT)
		err = crypto_wait_req(crypto_skcipher_encrypt(req), &wait);
	else
		err = crypto_wait_req(crypto_skcipher_decrypt(req), &wait);

	skcipher_request_free(req);
	return err;
}

/*
 * The key is the password, filled up with zeros, which is easy to follow but
 * weak. Real programs derive the key, in user space, with a function made to be
 * slow (Argon2, scrypt) and hand the kernel only the result.
 */
static int set_key(struct crypto_skcipher *aes)
{
	u8 key[AES_KEYSIZE_256] = {};
	int err;

	if (strlen(password) > sizeof(key)) {
		pr_err("the password is longer than %zu characters\n", sizeof(key));
		return -EINVAL;
	}
	memcpy(key, password, strlen(password));
	err = crypto_skcipher_setkey(aes, key, sizeof(key));
	memzero_explicit(key, sizeof(key)); /* leave no copy on the stack */
	return err;
}

static int encrypt_and_decrypt(struct crypto_skcipher *aes)
{
	unsigned int text_len = strlen(text);
	/*
	 * CBC takes whole blocks. PKCS #7: N bytes are missing, so add N bytes
	 * of value N, at least one.
	 */
	unsigned int pad = AES_BLOCK_SIZE - text_len % AES_BLOCK_SIZE;
	unsigned int len = text_len + pad;
	u8 iv[AES_BLOCK_SIZE];
	u8 *data;
	int err;

	data = kmalloc(len, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	memcpy(data, text, text_len);
	memset(data + text_len, pad, pad);

	/* A new vector each time, else equal texts would show as equal. It is no secret. */
	get_random_bytes(iv, sizeof(iv));

	err = crypt(aes, ENCRYPT, iv, data, len);
	if (err)
		goto out;
	pr_info("iv: %*phN\n", AES_BLOCK_SIZE, iv);
	/* %*phN prints at most 64 bytes; this prints any number, a line each 32. */
	print_hex_dump(KERN_INFO, "cryptosk: encrypted: ", DUMP_PREFIX_NONE, 32, 1, data, len,
		       false);

	err = crypt(aes, DECRYPT, iv, data, len);
	if (err)
		goto out;
	pr_info("decrypted: \"%.*s\"\n", text_len, data);
out:
	kfree_sensitive(data);
	return err;
}

static int __init cryptosk_init(void)
{
	struct crypto_skcipher *aes;
	int err;

	aes = crypto_alloc_skcipher("cbc(aes)", 0, 0);
	if (IS_ERR(aes)) {
		pr_err("this kernel has no cbc(aes): %pe\n", aes);
		return PTR_ERR(aes);
	}

	err = set_key(aes);
	if (!err)
		err = encrypt_and_decrypt(aes);
	if (err)
		pr_err("failed: %pe\n", ERR_PTR(err));

	crypto_free_skcipher(aes);
	return err;
}

static void __exit cryptosk_exit(void)
{
}

module_init(cryptosk_init);
module_exit(cryptosk_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("kmodlab");
MODULE_DESCRIPTION("Encrypt and decrypt a string with AES");
