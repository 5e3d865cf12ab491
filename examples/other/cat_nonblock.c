// SPDX-License-Identifier: GPL-2.0
/*
 * cat_nonblock.c - Show a file, but rather give up than wait for it.
 *
 *	cat_nonblock FILE
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return EXIT_FAILURE;
}

int main(int argc, char *argv[])
{
	char buffer[4096];
	ssize_t len;
	int file;

	if (argc != 2) {
		fprintf(stderr, "Usage: %s FILE\nShows FILE, but does not wait for it.\n", argv[0]);
		return EXIT_FAILURE;
	}

	file = open(argv[1], O_RDONLY | O_NONBLOCK);
	if (file < 0) {
		if (errno != EAGAIN)
			return fail(argv[1]);
		puts("Open would block");
		return EXIT_FAILURE;
	}

	while ((len = read(file, buffer, sizeof(buffer))) > 0)
		if (fwrite(buffer, 1, len, stdout) != (size_t)len)
			return fail("stdout");
	if (len < 0)
		return fail(argv[1]);
	return EXIT_SUCCESS;
}
