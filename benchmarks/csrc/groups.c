// SPDX-License-Identifier: Apache-2.0
/*
 * groups.c - the life of a cgroup as bare file operations, and their cost alone.
 *
 *	groups mkdir DIRECTORY | write FILE TEXT | join FILE | kill FILE | events FILE ...
 *	groups pause
 *
 * A life: all mkdirs and writes; all writes once more; a process joins; it is killed and waited for, with a read of
 * the group's processes before and of the events file afterwards; all rmdirs.
 * Without a kill file (before cgroup.kill, and on v1) the process gets a signal.
 * Every number read from standard input is a count of lives; each prints five numbers of nanoseconds, in a line.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(1, "%s: %s", path, text);
	close(fd);
}

/* Do all operations of one kind, in the order of the command line. */
static void all(char **words, const char *kind, const char *text)
{
	for (char **at = words; *at; at += strcmp(*at, "write") ? 2 : 3) {
		if (strcmp(*at, kind))
			continue;
		if (!strcmp(kind, "mkdir") && !text && mkdir(at[1], 0777))
			err(1, "%s", at[1]);
		else if (!strcmp(kind, "mkdir") && text && rmdir(at[1]))
			err(1, "%s", at[1]);
		else if (!strcmp(kind, "write"))
			put(at[1], at[2]);
		else if (strcmp(kind, "mkdir"))
			put(at[1], text);
	}
}

static int has(char **words, const char *kind)
{
	for (char **at = words; *at; at += strcmp(*at, "write") ? 2 : 3)
		if (!strcmp(*at, kind))
			return 1;
	return 0;
}

/* Read each of the files to its end. */
static void look(char **words, const char *kind)
{
	char text[4096];

	for (char **at = words; *at; at += strcmp(*at, "write") ? 2 : 3) {
		if (strcmp(*at, kind))
			continue;
		int fd = open(at[1], O_RDONLY | O_CLOEXEC);

		while (fd >= 0 && read(fd, text, sizeof(text)) > 0)
			;
		close(fd);
	}
}

/* Read the processes in every hierarchy; kill; wait; and check that the group is empty. */
static void end(char **words, pid_t pid)
{
	look(words, "join");
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd ended = { .fd = fd, .events = POLLIN };

	if (has(words, "kill"))
		all(words, "kill", "1");
	else
		kill(pid, SIGKILL);
	while (poll(&ended, 1, -1) != 1)
		;
	close(fd);
	look(words, "events");
}

static void live(char **words)
{
	static char *const idle[] = { "groups", "pause", 0 };
	uint64_t at[7];
	char number[16];
	pid_t pid;

	if (posix_spawn(&pid, "/proc/self/exe", 0, 0, idle, 0))
		errx(1, "cannot spawn");
	snprintf(number, sizeof(number), "%d", pid);
	at[0] = nanoseconds();
	all(words, "mkdir", 0);
	all(words, "write", 0);
	at[1] = nanoseconds();
	all(words, "write", 0);
	at[2] = nanoseconds();
	all(words, "join", number);
	at[3] = nanoseconds();
	end(words, pid);
	at[4] = nanoseconds();
	all(words, "mkdir", "away");
	at[5] = nanoseconds();
	waitpid(pid, 0, 0);
	for (int i = 0; i < 5; i++)
		printf("%llu%c", (unsigned long long)(at[i + 1] - at[i]), i < 4 ? ' ' : '\n');
}

int main(int argc, char **argv)
{
	int count;

	if (argc == 2 && !strcmp(argv[1], "pause"))
		return pause();
	while (scanf("%d", &count) == 1) {
		while (count-- > 0)
			live(argv + 1);
		fflush(stdout);
	}
	return 0;
}
