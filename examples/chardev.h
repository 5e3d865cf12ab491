/* SPDX-License-Identifier: GPL-2.0 */
/*
 * chardev.h - What chardev2.c and its users must agree on: the ioctl commands.
 *
 * Programs include this file, too (other/userspace_ioctl.c), so it uses nothing
 * that only the kernel has.
 */
#ifndef CHARDEV_H
#define CHARDEV_H

#include <linux/ioctl.h>

/*
 * The commands are numbered with the device's major number, so that is fixed.
 * Others may be free to change; a command, once it is in a program, is not.
 *
 * Do not number new commands like the first two. The size of the data is part
 * of the number, and a "char *" is four bytes in a 32-bit program and eight in
 * a 64-bit kernel: such a program's commands are unknown to that kernel. They
 * are here as the book has them. A structure of a fixed size is what to name.
 */
#define MAJOR_NUM 100

#define DEVICE_FILE_NAME "char_dev"
#define DEVICE_PATH "/dev/char_dev"

/* The longest message, with the NUL at its end. */
#define MSG_SIZE 80

/* Set the message of the device: the argument is a string that ends in a NUL. */
#define IOCTL_SET_MSG _IOW(MAJOR_NUM, 0, char *)

/* Get the message, with its NUL: the argument is a buffer of MSG_SIZE bytes. */
#define IOCTL_GET_MSG _IOR(MAJOR_NUM, 1, char *)

/*
 * Get one byte: the argument is its index, and the byte is what ioctl()
 * returns. The NUL at the end is the last byte that there is.
 */
#define IOCTL_GET_NTH_BYTE _IOWR(MAJOR_NUM, 2, int)

#endif /* CHARDEV_H */
