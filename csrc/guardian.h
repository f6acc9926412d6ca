/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guardian.h - kill the programs of a caller that has ended.
 *
 * PR_SET_PDEATHSIG belongs to the program, which may undo the request.  So each calling process has one guardian, a
 * process that its programs cannot reach from a pid namespace of their own.  A child registers with the guardian
 * before it execs the program, by sending two pidfds: of the thread that spawned the child, and of the child.  When
 * the first becomes readable, the thread has ended, and the guardian kills the process of the second.
 *
 *   descriptor 0   the socket on which the children register
 *   descriptor 1   a pidfd of the calling process
 *
 * The kernel sends the death signals of a process before it makes the process's pidfd readable.  So a child that
 * registers too late has its death signal already, and finds its caller gone before it execs the program.
 */
#ifndef CK_GUARDIAN_H
#define CK_GUARDIAN_H

#include <asm/stat.h>
#include <linux/eventpoll.h>

#include "walk.h"

#define DOOR 0
#define LIFE 1
#define SPARE 16			/* descriptors beside the pairs of pidfds */
#define SIGKILL_NUMBER 9
#define MESSAGE_DONTWAIT 0x40
#define MESSAGE_CLOEXEC 0x40000000
#define MESSAGE_TRUNCATED 8		/* MSG_CTRUNC: the kernel dropped descriptors */
#define OPTION_DUMPABLE 4
#define OPTION_NAME 15
#define LIMIT_OPEN_FILES 7
#define POLICY_BATCH 3
#define REST 10				/* milliseconds from a registration to its reading */

enum kind { KIND_DOOR, KIND_LIFE, KIND_CALLER, KIND_PROGRAM };

struct event {
	uint32_t events;
	uint64_t data;			/* kind, program's pidfd, caller's pidfd: 2, 31 and 31 bits */
}
#if defined(__x86_64__)
__attribute__((packed))
#endif
;

struct message {
	uint64_t name, name_size, parts, part_count, control, control_size, flags;
};

struct control {
	uint64_t size;
	int32_t level, type;
	int32_t value[];
};

struct registration {
	int pid;			/* of the sender, filled in by the kernel */
	int caller, program;		/* pidfds, or -1 */
	int truncated;
};

struct guard {
	long poll;			/* epoll's descriptor */
	uint64_t pairs, most;
	int deaf;			/* every sending end is closed: no child will register */
	int resting;			/* a registration waits to be read after a rest: see drain() */
	int full;			/* no more pairs fit; registrations wait in the socket */
	int dying;			/* the calling process has ended */
};

static inline CK_QUIET long ck_three(long nr, uint64_t a, uint64_t b, uint64_t c)
{
	return ck_syscall(nr, a, b, c, 0, 0, 0);
}

static inline CK_QUIET void close_one(int fd)
{
	if (fd >= 0)
		ck_three(__NR_close, (uint64_t)fd, 0, 0);
}

static CK_QUIET long watch(struct guard *g, int fd, enum kind kind, int program, int caller)
{
	struct event event = { EPOLLIN, (uint64_t)kind << 62 | (uint64_t)program << 31 | (uint64_t)caller };

	if (kind == KIND_DOOR)
		event.events |= EPOLLONESHOT;

	return ck_syscall(__NR_epoll_ctl, (uint64_t)g->poll, EPOLL_CTL_ADD, (uint64_t)fd, (uint64_t)(uintptr_t)&event, 0, 0);
}

static CK_QUIET void unwatch(struct guard *g, int fd)
{
	struct event event = { 0, 0 };

	ck_syscall(__NR_epoll_ctl, (uint64_t)g->poll, EPOLL_CTL_DEL, (uint64_t)fd, (uint64_t)(uintptr_t)&event, 0, 0);
}

/* Watch the socket again: epoll reports each of its events only once. */
static CK_QUIET void watch_door(struct guard *g)
{
	unwatch(g, DOOR);
	watch(g, DOOR, KIND_DOOR, 0, 0);
}

static CK_QUIET long kill_program(int program)
{
	return ck_syscall(__NR_pidfd_send_signal, (uint64_t)program, SIGKILL_NUMBER, 0, 0, 0, 0);
}

static CK_QUIET void release(struct guard *g, int program, int caller)
{
	unwatch(g, program);
	unwatch(g, caller);
	close_one(program);
	close_one(caller);
	g->pairs--;
	if (g->full) {
		g->full = 0;
		watch_door(g);
	}
}

static CK_QUIET int has_ended(int pidfd)
{
	struct { int32_t fd; int16_t events, revents; } entry = { pidfd, 1, 0 };
	uint64_t now[2] = { 0, 0 };

	return ck_syscall(__NR_ppoll, (uint64_t)(uintptr_t)&entry, 1, (uint64_t)(uintptr_t)now, 0, 8, 0) > 0;
}

/* Whether two pidfds are of one process.  Before Linux 6.9 all pidfds have one inode, so the answer is always yes. */
static CK_QUIET int same_process(int a, int b)
{
	struct stat one, other;

	if (ck_three(__NR_fstat, (uint64_t)a, (uint64_t)(uintptr_t)&one, 0) < 0)
		return 0;
	if (ck_three(__NR_fstat, (uint64_t)b, (uint64_t)(uintptr_t)&other, 0) < 0)
		return 0;
	return one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

/*
 * A child may register only itself: a caller that has given up privileges, which its guardian still has, must not be
 * able to kill a process of others by registering it.
 */
static CK_QUIET int is_sender(const struct registration *r)
{
	long sender = ck_three(__NR_pidfd_open, (uint64_t)r->pid, 0, 0);
	int same = sender >= 0 && same_process((int)sender, r->program);

	close_one((int)sender);
	return same;
}

static CK_QUIET void read_control(struct registration *r, const struct control *c)
{
	if (c->level != 1)	/* SOL_SOCKET */
		return;
	if (c->type == 2)	/* SCM_CREDENTIALS */
		r->pid = c->value[0];
	if (c->type == 1 && c->size >= sizeof(*c) + 4)	/* SCM_RIGHTS */
		r->caller = c->value[0];
	if (c->type == 1 && c->size >= sizeof(*c) + 8)
		r->program = c->value[1];
}

/* Read one registration.  Returns 1, 0 when all sending ends are closed, or a negated error number. */
static CK_QUIET long receive(struct registration *r)
{
	char text[1];
	uint64_t part[2] = { (uint64_t)(uintptr_t)text, 1 }, control[16];
	struct message m = { 0, 0, (uint64_t)(uintptr_t)part, 1, (uint64_t)(uintptr_t)control, sizeof(control), 0 };
	long got = ck_three(__NR_recvmsg, DOOR, (uint64_t)(uintptr_t)&m, MESSAGE_DONTWAIT | MESSAGE_CLOEXEC);

	r->pid = r->caller = r->program = -1;
	if (got <= 0)
		return got;
	r->truncated = (m.flags & MESSAGE_TRUNCATED) != 0;
	for (uint64_t at = 0; at + sizeof(struct control) <= m.control_size;) {
		const struct control *c = (const struct control *)((const char *)control + at);

		if (c->size < sizeof(*c) || at + c->size > m.control_size)
			break;
		read_control(r, c);
		at += (c->size + 7) & ~(uint64_t)7;
	}
	return 1;
}

/* Read one registration and watch its pair.  Returns whether there may be more to read. */
static CK_QUIET int listen_once(struct guard *g)
{
	struct registration r;
	long got = receive(&r);

	if (got == 0) {
		unwatch(g, DOOR);
		close_one(DOOR);
		g->deaf = 1;
	}
	if (got <= 0)
		return 0;
	if (r.truncated && r.pid > 0)	/* its pidfds are lost, so it cannot be guarded */
		ck_three(__NR_kill, (uint64_t)r.pid, SIGKILL_NUMBER, 0);
	if (r.caller < 0 || r.program < 0 || has_ended(r.program) || !is_sender(&r)) {
		close_one(r.caller);
		close_one(r.program);
		return 1;
	}
	g->full = ++g->pairs >= g->most;
	if (watch(g, r.program, KIND_PROGRAM, r.program, r.caller) < 0 || watch(g, r.caller, KIND_CALLER, r.program, r.caller) < 0) {
		kill_program(r.program);	/* a program that cannot be guarded must not run */
		release(g, r.program, r.caller);
	}
	return !g->full;
}

/*
 * Read the waiting registrations, after a rest.  Reading each at once would wake this process in the middle of every
 * program's start; after a rest many are read together, and most short programs have ended.  Registrations wait in the
 * socket with their descriptors.  When the caller has ended they are read without a rest.
 */
static CK_QUIET void drain(struct guard *g)
{
	g->resting = 0;
	while (listen_once(g))
		;
	if (!g->deaf && !g->full)
		watch_door(g);
}

/* Handle one event.  Only one is read at a time, so that a released pair has no second event waiting in our buffer. */
static CK_QUIET void handle(struct guard *g, uint64_t data)
{
	int program = (int)(data >> 31 & 0x7fffffff), caller = (int)(data & 0x7fffffff);

	switch ((enum kind)(data >> 62)) {
	case KIND_DOOR:
		if (g->dying)
			drain(g);
		else
			g->resting = 1;
		break;
	case KIND_LIFE:
		unwatch(g, LIFE);
		g->dying = 1;
		drain(g);
		break;
	case KIND_CALLER:
		kill_program(program);
		release(g, program, caller);
		break;
	case KIND_PROGRAM:
		release(g, program, caller);
		break;
	}
}

/* Raise the limit of open files to the hard limit.  Returns the number of pairs that fit. */
static CK_QUIET uint64_t most_pairs(void)
{
	uint64_t limit[2] = { 1024, 1024 };

	ck_syscall(__NR_prlimit64, 0, LIMIT_OPEN_FILES, 0, (uint64_t)(uintptr_t)limit, 0, 0);
	limit[0] = limit[1];
	ck_syscall(__NR_prlimit64, 0, LIMIT_OPEN_FILES, (uint64_t)(uintptr_t)limit, 0, 0, 0);
	return limit[1] > 2 * SPARE ? (limit[1] - SPARE) / 2 : 1;
}

/* Guard until no pair is left and no child can register. */
static CK_QUIET void guard(void)
{
	struct guard g = { .pairs = 0, .most = most_pairs() };
	int32_t priority = 0;

	ck_three(__NR_prctl, OPTION_DUMPABLE, 0, 0);
	ck_three(__NR_sched_setscheduler, 0, POLICY_BATCH, (uint64_t)(uintptr_t)&priority);	/* a wakeup preempts no other process */
	ck_three(__NR_prctl, OPTION_NAME, (uint64_t)(uintptr_t)"ck-guardian", 0);
	g.poll = ck_three(__NR_epoll_create1, 0, 0, 0);
	if (watch(&g, DOOR, KIND_DOOR, 0, 0) < 0 || watch(&g, LIFE, KIND_LIFE, 0, 0) < 0)
		return;
	while (g.poll >= 0 && (!g.deaf || g.pairs)) {
		struct event event;
		int wait = g.dying ? 0 : g.resting ? REST : -1;
		long count = ck_syscall(__NR_epoll_pwait, (uint64_t)g.poll, (uint64_t)(uintptr_t)&event, 1, (uint64_t)wait, 0, 8);

		if (count == 1)
			handle(&g, event.data);
		else if (count == 0 && g.dying)
			return;
		else if (count == 0)
			drain(&g);
	}
}

#endif
