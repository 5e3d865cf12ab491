// SPDX-License-Identifier: GPL-2.0
/*
 * userspace_ioctl.c - A program that talks to chardev2.ko by ioctl.
 *
 *	userspace_ioctl [MESSAGE]
 *
 * sets the device's message, and gets it back: at once, and byte by byte.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../chardev.h"

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void set_msg(int device, const char *message)
{
	if (ioctl(device, IOCTL_SET_MSG, message) < 0)
		fail("IOCTL_SET_MSG");
}

static void get_msg(int device)
{
	char message[MSG_SIZE] = "";

	if (ioctl(device, IOCTL_GET_MSG, message) < 0)
		fail("IOCTL_GET_MSG");
	printf("get_msg message: %s\n", message);
}

static void get_nth_byte(int device)
{
	int byte, i;

	printf("get_nth_byte message: ");
	for (i = 0; (byte = ioctl(device, IOCTL_GET_NTH_BYTE, i)) > 0; i++)
		putchar(byte);
	putchar('\n');
	if (byte < 0)
		fail("IOCTL_GET_NTH_BYTE");
}

int main(int argc, char *argv[])
{
	const char *message = argc > 1 ? argv[1] : "Message passed by ioctl";
	int device = open(DEVICE_PATH, O_RDWR);

	if (device < 0)
		fail(DEVICE_PATH);

	set_msg(device, message);
	get_msg(device);
	get_nth_byte(device);

	close(device);
	return EXIT_SUCCESS;
}
