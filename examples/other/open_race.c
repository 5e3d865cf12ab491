// SPDX-License-Identifier: GPL-2.0
/*
 * open_race.c - Two processes open a device at the same moment, again and again.
 *
 *	open_race DEVICE ROUNDS
 *
 * says in how many rounds both of them got it: 0, if one opener at a time is a
 * promise that the device keeps.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the two share. */
struct race {
	int arrived;
	int opened;
	int left;
};

/* Each on a CPU of its own, if there are as many. */
static void move_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Wait until both have come here so often. Who sleeps would wake too late for a race. */
static void meet(int *arrived, int rounds)
{
	unsigned int turns = 0;

	__atomic_add_fetch(arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(arrived, __ATOMIC_SEQ_CST) < 2 * rounds)
		if (++turns % 100000 == 0)
			sched_yield(); /* on a machine with one CPU */
}

/* The rounds in which this process opened the device and found that the other had, too. */
static int runs(struct race *race, const char *path, int rounds)
{
	int both = 0, round, device;

	for (round = 1; round <= rounds; round++) {
		meet(&race->arrived, round);
		device = open(path, O_RDONLY);
		if (device >= 0)
			__atomic_add_fetch(&race->opened, 1, __ATOMIC_SEQ_CST);
		meet(&race->left, round);
		if (device >= 0) {
			both += __atomic_sub_fetch(&race->opened, 1, __ATOMIC_SEQ_CST) > 0;
			close(device);
		}
	}
	return both;
}

int main(int argc, char *argv[])
{
	struct race *race;
	int both, rounds, status;
	pid_t other;

	if (argc != 3) {
		fprintf(stderr, "Usage: %s DEVICE ROUNDS\nOpens DEVICE twice at a time.\n",
			argv[0]);
		return EXIT_FAILURE;
	}
	rounds = atoi(argv[2]);

	race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (race == MAP_FAILED) {
		perror("mmap");
		return EXIT_FAILURE;
	}

	other = fork();
	if (other < 0) {
		perror("fork");
		return EXIT_FAILURE;
	}
	move_to_cpu(other ? 0 : 1);
	both = runs(race, argv[1], rounds);
	if (!other)
		_exit(both > 0);

	if (waitpid(other, &status, 0) < 0 || !WIFEXITED(status)) {
		fprintf(stderr, "the other process has died\n");
		return EXIT_FAILURE;
	}
	both += WEXITSTATUS(status);
	printf("both got it in %d of %d rounds\n", both, rounds);
	return both ? EXIT_FAILURE : EXIT_SUCCESS;
}
