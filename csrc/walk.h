/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.h - the loop that makes a plan's system calls, in the child of ck_start() and in the helper.
 *
 * The child shares its parent's memory while other threads of the parent go on.  So the code here makes raw system
 * calls only: no libc, no errno, no allocation, no locks; it writes to the program and to a stack of its own, nowhere
 * else.  Signals stay blocked until a step of the plan unblocks them.
 */
#ifndef CK_WALK_H
#define CK_WALK_H

#include <asm-generic/errno-base.h>
#include <asm/unistd.h>

#include "raw.h"
#include "spawn.h"

#define CK_QUIET __attribute__((no_sanitize("address", "undefined"), no_stack_protector))

/* openat2(2) fails with EAGAIN for a path with ".." if any process mounts or renames meanwhile, and must be called again. */
#define CK_TRIES 1000

enum ck_end {
	CK_DONE,	/* every step made; none of them was an exec */
	CK_FAILED,	/* program->failed is the index of the step */
	CK_LEFT,	/* a result above at_most: another process continues the plan, or none has to */
};

static inline CK_QUIET int64_t ck_make(struct ck_program *p, uint32_t i)
{
	const struct ck_step *s = (const struct ck_step *)((char *)p + p->steps) + i;
	struct ck_trace *t = (struct ck_trace *)((char *)p + p->traces) + i;
	uint64_t a[6];
	int64_t result = 0;

	for (int k = 0; k < 6; k++)
		a[k] = s->slots >> k & 1 ? (uint64_t)p->slot[s->arg[k] % CK_SLOTS] : s->arg[k];
	t->begin = ck_ticks();
	for (int tries = 0; tries < CK_TRIES; tries++) {
		result = ck_syscall(s->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (result != -EAGAIN || s->nr != __NR_openat2)
			break;
	}
	t->end = ck_ticks();
	t->result = result;
	if (s->save >= 0)
		p->slot[s->save % CK_SLOTS] = result;
	return result;
}

/*
 * Make the steps from program->next on; *last is the index of the last one made.  After a failure the autopsy's steps
 * examine the state, so that the parent can explain the errno.  On success the last step is an exec, and this function
 * does not return.
 */
static inline CK_QUIET enum ck_end ck_walk(struct ck_program *p, int32_t *last)
{
	const struct ck_step *steps = (const struct ck_step *)((char *)p + p->steps);

	for (uint32_t i = p->next; i < p->count; i = p->next) {
		int64_t result;

		p->next = i + 1;
		*last = (int32_t)i;
		result = ck_make(p, i);
		if (result > steps[i].at_most)
			return CK_LEFT;
		if (result >= steps[i].at_least)
			continue;
		if (result < 0 && result > -64 && steps[i].tolerated >> -result & 1)
			continue;
		p->failed = (int32_t)i;
		for (uint32_t k = p->count; i >= p->autopsy_from && k < p->count + p->autopsy; k++)
			ck_make(p, k);
		return CK_FAILED;
	}
	return CK_DONE;
}

/* Relocate the program's addresses to the address at which it lies. */
static inline CK_QUIET void ck_relocate(struct ck_program *p)
{
	const uint32_t *relocs = (const uint32_t *)((char *)p + p->relocs);
	uint64_t moved = (uint64_t)(uintptr_t)p - p->base;

	for (uint32_t i = 0; i < p->reloc_count; i++)
		*(uint64_t *)((char *)p + relocs[i]) += moved;
	p->base = (uint64_t)(uintptr_t)p;
}

#endif
