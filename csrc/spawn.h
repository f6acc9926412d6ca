/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn.h - the structures that Python and C share.
 *
 * Python compiles a plan into one flat program: a header, the steps, a trace entry for each step, the bytes that the
 * steps point to, and a list of the words in it that are addresses.  C relocates the program to its address (ck_load),
 * clones a child that walks the steps, and writes the result and the times of each step into the trace.
 *
 * There are no opcodes.  A step is a system call: a number, six arguments, and the condition of success.
 */
#ifndef CK_SPAWN_H
#define CK_SPAWN_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
#define CK_SLOTS 512

struct ck_step {
	int64_t nr;		/* the system call's number */
	uint64_t arg[6];	/* a value, an address inside the program, or the index of a slot */
	uint64_t tolerated;	/* bit e: errno e is no failure here (errnos below 64) */
	int64_t at_least;	/* a smaller result is a failure: a short write, an unanswered handshake */
	int64_t at_most;	/* a greater result ends this process's part of the plan without an error: see ck_walk */
	uint32_t slots;		/* bit i: arg[i] is the index of a slot */
	int32_t save;		/* the slot that takes the result, or -1 */
};

struct ck_trace {
	int64_t result;		/* the kernel's result: a value, or a negated error number */
	uint64_t begin, end;	/* ticks of ck_clock(); begin is 0 for a step never reached, end is 0 for one that did not return */
};

struct ck_program {
	uint32_t size;		/* bytes of the whole program */
	uint32_t steps, traces;	/* offsets of the two arrays */
	uint32_t count;		/* steps in the plan */
	uint32_t autopsy;	/* further steps, made only after a failed step from autopsy_from on */
	uint32_t autopsy_from;
	uint32_t relocs, reloc_count;	/* offset of an array of uint32_t offsets: the words that are addresses */
	uint64_t base;		/* the address for which those words are correct now */
	uint32_t next;		/* the index of the next step; survives the exec of the helper */
	int32_t failed;		/* the index of the failed step, or -1 */
	int32_t init;		/* the clone step whose parent stays as pid 1, to forward signals and reap; or -1 */
	int32_t forked;		/* written by the kernel: the pid of the child that the helper cloned for the caller */
	int32_t payload;	/* written by the kernel: the program's pid in the new pid namespace */
	uint32_t reserved;
	uint64_t started;	/* ticks at the child's first instruction */
	uint64_t sigmask;	/* the caller's signal mask at ck_start() */
	int64_t slot[CK_SLOTS];	/* file descriptors carried from step to step */
};

struct ck_child {
	struct ck_program *program;
	size_t size;
	int memfd;		/* the program's file if a helper must map it too, or -1 */
	char *stack;
	uint64_t begin, end;	/* ticks before and after the clone */
	int pidfd;		/* -1 if the kernel returned none */
	int32_t alive;		/* cleared and woken by the kernel when the child leaves this memory */
	uint32_t exit_signal;	/* sent to us when the child ends; 0 hides it from wait(2) without __WALL.  SIGCHLD from ck_load() */
	uint64_t handled;	/* signals to reset to their default if CLONE_CLEAR_SIGHAND does not exist */
};

struct ck_child *ck_load(const char *program, size_t size, int memfd);
void ck_unload(struct ck_child *child);
int ck_start(struct ck_child *child, uint64_t flags, int cgroup);
int ck_await_release(struct ck_child *child, int milliseconds);
int64_t ck_call(struct ck_trace *trace, int64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
long ck_number(const char *name);
uint64_t ck_clock(void);
void ck_clock_pair(uint64_t *ticks, uint64_t *nanoseconds);
/* cffi: end */

#endif
