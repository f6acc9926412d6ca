// SPDX-License-Identifier: Apache-2.0
/* lookups.c - print the nanoseconds of stat(2) of each path: the first time, and again from the kernel's cache. */
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	struct stat found;

	for (int i = 1; i < argc; i++) {
		for (int again = 0; again < 2; again++) {
			uint64_t begin = nanoseconds();

			stat(argv[i], &found);
			printf("%llu ", (unsigned long long)(nanoseconds() - begin));
		}
	}
	return 0;
}
