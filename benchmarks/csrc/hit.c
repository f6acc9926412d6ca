// SPDX-License-Identifier: Apache-2.0
/*
 * hit.c - run into a limit, and record the time just before.
 *
 *	hit FILE memory	touches memory, page after page, until the limit stops it
 *	hit FILE huge	touches one huge page of 2 MiB
 *
 * FILE is shared with the benchmark: its first 8 bytes are the nanoseconds of CLOCK_MONOTONIC before the last touch.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HUGE_2MB (21 << 26)
#define LARGE ((size_t)1 << 28)

static void leave(int unused)
{
	(void)unused;
	_exit(0);
}

int main(int argc, char **argv)
{
	int huge = argc == 3 && !strcmp(argv[2], "huge"), fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	size_t size = huge ? (size_t)2 << 20 : LARGE, step = huge ? size : (size_t)sysconf(_SC_PAGESIZE);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (huge ? MAP_HUGETLB | HUGE_2MB : 0);
	volatile uint64_t *stamp = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	volatile char *memory = mmap(0, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	struct timespec now;

	if (stamp == MAP_FAILED || memory == MAP_FAILED)
		err(1, "mmap");
	signal(SIGBUS, leave);
	if (!huge)
		mlock2((void *)memory, size, MLOCK_ONFAULT); /* no page may be swapped out instead */
	for (size_t at = 0; at < size; at += step) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		*stamp = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
		memory[at] = 1;
	}
	return 1;
}
