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
#include <signal.h>
#include <stdio.h>
#include <string.h>
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

	parent_before();
	args.cgroup = CLONE_CGROUP;
	alive = 1;
	CALL(__NR_rt_sigprocmask, SIG_SETMASK, (uintptr_t)&all, (uintptr_t)&sigmask, 8, 0, 0);
	pid = ck_clone_call(__NR_clone3, (uintptr_t)&args, sizeof(args), 0, 0, 0, child, 0);
	CALL(__NR_rt_sigprocmask, SIG_SETMASK, (uintptr_t)&sigmask, 0, 8, 0, 0);
	if (pid < 0)
		FAIL(0, pid);
	while ((now = __atomic_load_n(&alive, __ATOMIC_ACQUIRE)))
		CALL(__NR_futex, (uintptr_t)&alive, FUTEX_WAIT, now, 0, 0, 0);
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
