// SPDX-License-Identifier: Apache-2.0
/*
 * floor.c - a plan as a C program: the cost of its system calls alone.
 *
 * plan.h is generated from a plan: the clone's flags, the parent's calls, the child's calls with their arguments.
 * Every number read from standard input is a count of runs; each run's nanoseconds are printed, one a line.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <asm/unistd.h>

#include "raw.h"

#define CALL(nr, a, b, c, d, e, f) \
	ck_syscall(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f))
#define FAIL(step, result) do { failed = (step); failed_with = (result); ck_leave(); } while (0)

static char stack[16384] __attribute__((aligned(16)));
static volatile int failed = -1;
static volatile long failed_with;
static uint64_t sigmask;
static int pidfd, alive;
static long child_pid;
static int sync_ours = -1, sync_theirs = -1, caller = -1, streams[3], pipes[2];
static char spoken;

#define HEAR do { if (CALL(__NR_read, sync_ours, (uintptr_t)&spoken, 1, 0, 0, 0) != 1) return; } while (0)
#define SAY CALL(__NR_write, sync_ours, (uintptr_t)&spoken, 1, 0, 0, 0)

static inline void ck_leave(void)
{
	for (;;)
		ck_syscall(__NR_exit_group, 127, 0, 0, 0, 0, 0);
}

#include "plan.h"

struct clone_arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static void child(void *unused)
{
	(void)unused;
	child_steps();
	ck_leave();
}

#ifdef HAS_STDIN
static int pipe_to(int *theirs)
{
	int ends[2];

	CALL(__NR_pipe2, (uintptr_t)ends, O_CLOEXEC, 0, 0, 0, 0);
	CALL(__NR_fchmod, ends[1], 0666, 0, 0, 0, 0);
	*theirs = ends[1];
	return ends[0];
}

static void open_streams(void)
{
	streams[0] = (int)CALL(__NR_openat, AT_FDCWD, (uintptr_t)"/dev/null", O_RDWR | O_CLOEXEC, 0, 0, 0);
	pipes[0] = pipe_to(&streams[1]);
	pipes[1] = pipe_to(&streams[2]);
}

/* Read the program's output until both ends are closed. */
static void read_streams(void)
{
	static char data[65536];
	struct pollfd polled[2] = { { pipes[0], POLLIN, 0 }, { pipes[1], POLLIN, 0 } };
	int left = 2;

	while (left && poll(polled, 2, -1) > 0)
		for (int i = 0; i < 2; i++)
			if (polled[i].revents && CALL(__NR_read, pipes[i], (uintptr_t)data, sizeof(data), 0, 0, 0) <= 0) {
				CALL(__NR_close, pipes[i], 0, 0, 0, 0, 0);
				polled[i].fd = -1;
				left--;
			}
}

static void close_streams(void)
{
	for (int i = 0; i < 3; i++)
		CALL(__NR_close, streams[i], 0, 0, 0, 0, 0);
}
#endif

static void open_inputs(void)
{
#ifdef HAS_SYNC
	int ends[2];

	CALL(__NR_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, (uintptr_t)ends, 0, 0);
	sync_ours = ends[0];
	sync_theirs = ends[1];
#endif
#ifdef HAS_CALLER
	caller = (int)CALL(__NR_pidfd_open, CALL(__NR_getpid, 0, 0, 0, 0, 0, 0), 0, 0, 0, 0, 0);
#endif
#ifdef HAS_STDIN
	open_streams();
#endif
}

static void close_inputs(void)
{
#ifdef HAS_SYNC
	CALL(__NR_close, sync_ours, 0, 0, 0, 0, 0);
#endif
#ifdef HAS_CALLER
	CALL(__NR_close, caller, 0, 0, 0, 0, 0);
#endif
#ifdef HAS_STDIN
	close_streams();
#endif
}

static void run(void)
{
	struct clone_arguments args = {
		.flags = CLONE_FLAGS, .pidfd = (uintptr_t)&pidfd, .child_tid = (uintptr_t)&alive, .exit_signal = SIGCHLD,
		.stack = (uintptr_t)stack, .stack_size = sizeof(stack),
	};
	uint64_t all = ~(uint64_t)0;
	siginfo_t info;
	long pid;
	int now;

	open_inputs();
	parent_before();
	args.cgroup = CLONE_CGROUP;
	alive = 1;
	CALL(__NR_rt_sigprocmask, SIG_SETMASK, (uintptr_t)&all, (uintptr_t)&sigmask, 8, 0, 0);
	pid = ck_clone_call(__NR_clone3, (uintptr_t)&args, sizeof(args), 0, 0, 0, child, 0);
	CALL(__NR_rt_sigprocmask, SIG_SETMASK, (uintptr_t)&sigmask, 0, 8, 0, 0);
	if (pid < 0)
		FAIL(0, pid);
	child_pid = pid;
#ifdef HAS_SYNC
	CALL(__NR_close, sync_theirs, 0, 0, 0, 0, 0);
#endif
	parent_talk();
	while ((now = __atomic_load_n(&alive, __ATOMIC_ACQUIRE)))
		CALL(__NR_futex, (uintptr_t)&alive, FUTEX_WAIT, now, 0, 0, 0);
	close_inputs();
#ifdef HAS_STDIN
	read_streams();
#endif
	CALL(__NR_waitid, P_PIDFD, pidfd, (uintptr_t)&info, WEXITED, 0, 0);
	CALL(__NR_close, pidfd, 0, 0, 0, 0, 0);
	parent_after();
	if (failed < 0 && info.si_status)
		failed = 9999;
}

/* Take the numbers that the child's dup3 calls overwrite, so that the parent's descriptors are above, as in spawn(). */
static void take_low_numbers(void)
{
	int fd;

	do
		fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
	while (fd >= 0 && fd <= LAST_INPUT);
}

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(void)
{
	int count;

	take_low_numbers();
	prepare();
	while (scanf("%d", &count) == 1) {
		while (count-- > 0) {
			uint64_t begin = nanoseconds();

			run();
			if (failed >= 0)
				break;
			printf("%llu\n", (unsigned long long)(nanoseconds() - begin));
		}
		if (failed >= 0) {
			printf("step %d failed: %s\n", failed, strerror((int)-failed_with));
			return 1;
		}
		fflush(stdout);
	}
	return 0;
}
