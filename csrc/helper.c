// SPDX-License-Identifier: Apache-2.0
/*
 * helper.c - a static program for the two cases in which a child must not stay in its parent's memory.
 *
 *   Joining.  In a user, pid or mount namespace of other processes, a child with CLONE_VM would be the host's Python,
 *             and any process with ptrace rights in that namespace could write to it.  So the child execs this
 *             program first.
 *   Pid 1.    A pid namespace needs a first process that forwards signals and reaps orphans.
 *
 * The helper maps the plan's program and continues at program->next.  It has no libc, and runs from a sealed memfd,
 * so that no process can write to it through /proc/self/exe.
 *
 *   ck-helper FD SIZE
 *   ck-guardian LEAVE	see guardian.h; with 1 the guardian becomes a child of init, so that the caller's wait(2) never
 *			sees it
 */
#include <linux/signal.h>
#include <linux/wait.h>
#include <asm/unistd.h>

#include "guardian.h"
#include "spawn.h"
#include "walk.h"

#define PROT_READ_WRITE 3
#define MAP_SHARED_FILE 1
#define SIGCHLD_NUMBER 17
#define ALL_SIGNALS (~(uint64_t)0)

static CK_QUIET uint64_t number(const char *text)
{
	uint64_t value = 0;

	while (*text >= '0' && *text <= '9')
		value = value * 10 + (uint64_t)(*text++ - '0');
	return value;
}

static CK_QUIET void leave(int code)
{
	for (;;)
		ck_syscall(__NR_exit_group, (uint64_t)code, 0, 0, 0, 0, 0);
}

/* Reap every ended child.  If it is the payload, exit with its status, which ends the pid namespace. */
static CK_QUIET void reap(int payload)
{
	for (;;) {
		int status = 0;
		long pid = ck_syscall(__NR_wait4, (uint64_t)-1, (uint64_t)(uintptr_t)&status, WNOHANG, 0, 0, 0);

		if (pid <= 0)
			return;
		if (pid == payload)
			leave(status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
	}
}

/*
 * Forward signals and reap, as process 1.  All signals have been blocked since before the clone, so none is lost and
 * none has a handler: rt_sigtimedwait takes them one by one.  Nothing of the host stays open here: no file descriptor,
 * and not the program that the parent reads.
 */
static CK_QUIET void init(struct ck_program *p, int payload)
{
	uint64_t all = ALL_SIGNALS;

	ck_syscall(__NR_munmap, (uint64_t)(uintptr_t)p, p->size, 0, 0, 0, 0);
	ck_syscall(__NR_close_range, 0, ~0U, 0, 0, 0, 0);
	for (;;) {
		long signal = ck_syscall(__NR_rt_sigtimedwait, (uint64_t)(uintptr_t)&all, 0, 0, 8, 0, 0);

		if (signal == SIGCHLD_NUMBER)
			reap(payload);
		else if (signal > 0)
			ck_syscall(__NR_kill, (uint64_t)payload, (uint64_t)signal, 0, 0, 0, 0);
	}
}

static CK_QUIET int is_guardian(const char *name)
{
	const char *wanted = "ck-guardian";

	while (*name && *name == *wanted) {
		name++;
		wanted++;
	}
	return *name == *wanted;
}

/* Guard.  To leave the caller's family, clone and exit: the clone then becomes a child of init. */
static CK_QUIET void be_guardian(int leaves_family)
{
	if (leaves_family) {
		long pid = ck_syscall(__NR_clone, 0, 0, 0, 0, 0, 0);

		if (pid)
			leave(pid > 0 ? 0 : 125);
	}
	guard();
	leave(0);
}

__attribute__((used)) CK_QUIET void ck_helper_main(long *stack)
{
	char **argv = (char **)(stack + 1);
	uint64_t size, begin = ck_ticks();
	struct ck_program *p;
	struct ck_trace *mapped;
	enum ck_end end;
	int32_t last = -1;
	long address;

	if (stack[0] == 2 && is_guardian(argv[0]))	/* also checks the name: a script with this file as interpreter has two arguments too */
		be_guardian(argv[1][0] == '1');
	if (stack[0] != 3)
		leave(126);
	size = number(argv[2]);
	address = ck_syscall(__NR_mmap, 0, size, PROT_READ_WRITE, MAP_SHARED_FILE, number(argv[1]), 0);
	if (address < 0 && address > -4096)
		leave(126);
	p = (struct ck_program *)address;
	mapped = (struct ck_trace *)((char *)p + p->traces) + p->next++;
	mapped->begin = begin;
	mapped->end = ck_ticks();
	ck_relocate(p);
	end = ck_walk(p, &last);
	if (end == CK_LEFT && last == p->init)
		init(p, p->payload);
	leave(end == CK_LEFT ? 0 : 127);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txorl %ebp, %ebp\n\tmovq %rsp, %rdi\n\tandq $-16, %rsp\n\tcall ck_helper_main\n\tud2\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tbl ck_helper_main\n\tbrk #0\n");
#endif
