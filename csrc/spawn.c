// SPDX-License-Identifier: Apache-2.0
/*
 * spawn.c - the parent's side: load a program, clone the child that walks it, and learn when the child has left our
 * memory.
 *
 * The child is made with CLONE_VM, so that its cost does not grow with the parent's size, and has a stack of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "spawn.h"
#include "walk.h"

#define STACK_BYTES 16384	/* ck_walk needs a few hundred */
#define ALL_SIGNALS (~(uint64_t)0)

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

/* The first 88 bytes of struct clone_args of clone(2); older headers lack the later fields. */
struct clone_arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* The kernel's struct for rt_sigaction; libc's struct sigaction has another layout. */
struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

static const struct { const char *name; long nr; } numbers[] = {
#include "ck_numbers.h"
};

/* Return the number of a system call on this machine, or -1. */
long ck_number(const char *name)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (strcmp(numbers[i].name, name) == 0)
			return numbers[i].nr;
	return -1;
}

uint64_t ck_clock(void)
{
	return ck_ticks();
}

/* Read both clocks at one moment: two such pairs give the length of a tick. */
void ck_clock_pair(uint64_t *ticks, uint64_t *nanoseconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	*ticks = ck_ticks();
	*nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Make a step of the parent: as in the child, but in the caller's own thread. */
int64_t ck_call(struct ck_trace *trace, int64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	trace->begin = ck_ticks();
	trace->result = ck_syscall(nr, a, b, c, d, e, f);
	trace->end = ck_ticks();
	return trace->result;
}

/*
 * Copy a program to memory that a child can use: private memory, or the file `memfd` (which has the program's size) if
 * a helper must map it too.  Returns NULL when there is no memory.
 */
struct ck_child *ck_load(const char *program, size_t size, int memfd)
{
	struct ck_child *child = calloc(1, sizeof(*child));
	void *memory = NULL;

	if (!child)
		return NULL;
	child->stack = malloc(STACK_BYTES);
	if (memfd >= 0)
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	else
		memory = malloc(size);
	child->memfd = memfd;
	child->size = size;
	child->pidfd = -1;
	child->exit_signal = SIGCHLD;
	if (memory == MAP_FAILED)
		memory = NULL;
	child->program = memory;
	if (!child->stack || !memory) {
		ck_unload(child);
		return NULL;
	}
	memcpy(memory, program, size);
	ck_relocate(child->program);
	return child;
}

/* Free a program.  The child must have left this memory: see ck_await_release(). */
void ck_unload(struct ck_child *child)
{
	if (child->memfd >= 0 && child->program)
		munmap(child->program, child->size);
	else
		free(child->program);
	free(child->stack);
	free(child);
}

/* Run as the child.  The parent may have returned from ck_start(), so use only memory of ck_load(), not its stack. */
static CK_QUIET void ck_child_main(void *argument)
{
	const struct ck_child *child = argument;
	struct ck_program *p = child->program;
	struct kernel_sigaction standard;
	enum ck_end end;
	int32_t last;

	p->started = ck_ticks();
	standard.handler = standard.flags = standard.restorer = standard.mask = 0;
	for (int signal = 1; child->handled && signal <= 64; signal++)
		if (child->handled >> (signal - 1) & 1)
			ck_syscall(SYS_rt_sigaction, signal, (uint64_t)(uintptr_t)&standard, 0, 8, 0, 0);
	end = ck_walk(p, &last);
	for (;;)
		ck_syscall(SYS_exit_group, end == CK_LEFT ? 0 : 127, 0, 0, 0, 0, 0);
}

static uint64_t handled_signals(void)
{
	struct kernel_sigaction now;
	uint64_t handled = 0;

	for (int signal = 1; signal <= 64; signal++)
		if (ck_syscall(SYS_rt_sigaction, signal, 0, (uint64_t)(uintptr_t)&now, 8, 0, 0) == 0 && now.handler > 1)
			handled |= (uint64_t)1 << (signal - 1);
	return handled;
}

/* Clone where clone3 is missing.  A flag that the old call does not have is refused, not dropped. */
static long legacy_clone(struct ck_child *child, uint64_t flags)
{
	uint64_t top = (uint64_t)(uintptr_t)(child->stack + STACK_BYTES);
	uint64_t pidfd = (uint64_t)(uintptr_t)&child->pidfd, alive = (uint64_t)(uintptr_t)&child->alive;

	if ((flags & ~(uint64_t)0xffffffff) || (flags & 0xff))
		return -ENOSYS;
	child->handled = handled_signals();
#if defined(__x86_64__)
	return ck_clone_call(SYS_clone, flags | child->exit_signal, top, pidfd, alive, 0, ck_child_main, child);
#else
	return ck_clone_call(SYS_clone, flags | child->exit_signal, top, pidfd, 0, alive, ck_child_main, child);
#endif
}

/*
 * Clone the child.  Returns its pid or a negated error number.  The caller's signal mask is the same on return.
 * With CLONE_VFORK in flags the child has left our memory on return; without, use ck_await_release().
 *
 * cgroup is a directory's file descriptor for CLONE_INTO_CGROUP, or -1.
 */
int ck_start(struct ck_child *child, uint64_t flags, int cgroup)
{
	struct clone_arguments args = {
		.flags = flags | CLONE_CLEAR_SIGHAND | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)&child->pidfd,
		.child_tid = (uint64_t)(uintptr_t)&child->alive,
		.exit_signal = child->exit_signal,
		.stack = (uint64_t)(uintptr_t)child->stack,
		.stack_size = STACK_BYTES,
		.cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
	};
	uint64_t all = ALL_SIGNALS;
	long pid;

	child->alive = 1;
	ck_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)(uintptr_t)&all, (uint64_t)(uintptr_t)&child->program->sigmask, 8, 0, 0);
	child->begin = ck_ticks();
	pid = ck_clone_call(SYS_clone3, (uint64_t)(uintptr_t)&args, sizeof(args), 0, 0, 0, ck_child_main, child);
	if (pid == -ENOSYS && cgroup < 0)
		pid = legacy_clone(child, flags);
	child->end = ck_ticks();
	ck_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)(uintptr_t)&child->program->sigmask, 0, 8, 0, 0);
	if (pid < 0) {
		child->alive = 0;
		child->pidfd = -1; /* the kernel may have written the number of a descriptor that it closed again */
	}
	return (int)pid;
}

/*
 * Wait until the child has left our memory by exec or by its end: the kernel itself clears child->alive then
 * (CLONE_CHILD_CLEARTID).  Returns 0, or -ETIMEDOUT.  A negative time waits for ever.
 */
int ck_await_release(struct ck_child *child, int milliseconds)
{
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000L };

	for (;;) {
		int32_t alive = __atomic_load_n(&child->alive, __ATOMIC_ACQUIRE);
		long result;

		if (!alive)
			return 0;
		result = ck_syscall(SYS_futex, (uint64_t)(uintptr_t)&child->alive, FUTEX_WAIT, (uint64_t)alive,
				    milliseconds < 0 ? 0 : (uint64_t)(uintptr_t)&time, 0, 0);
		if (result == -ETIMEDOUT)
			return -ETIMEDOUT;
	}
}
