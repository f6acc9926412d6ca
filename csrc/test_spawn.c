// SPDX-License-Identifier: Apache-2.0
/*
 * test_spawn.c - tests of the loop and of cloning, on either processor.
 *
 * qemu-user has no CLONE_PIDFD and turns CLONE_VM into a fork, so the programs here lie in shared memory, and the
 * clone's flags are those that qemu-user implements.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spawn.h"
#include "walk.h"

#define ROOM 8192
#define NO_SUCH_CALL 9999

static int failures;
#define CHECK(condition) ((condition) ? (void)0 : (failures++, (void)printf("line %d: %s\n", __LINE__, #condition)))

struct program {
	struct ck_program head;
	struct ck_step step[16];
	struct ck_trace trace[16];
	uint32_t relocs[4];
	char text[256];
};

static struct program fresh(uint32_t count, uint32_t autopsy)
{
	struct program program;

	memset(&program, 0, sizeof(program));
	program.head.size = sizeof(program);
	program.head.steps = offsetof(struct program, step);
	program.head.traces = offsetof(struct program, trace);
	program.head.relocs = offsetof(struct program, relocs);
	program.head.count = count;
	program.head.autopsy = autopsy;
	program.head.autopsy_from = count ? count - 1 : 0;
	program.head.failed = program.head.init = -1;
	for (int i = 0; i < 16; i++) {
		program.step[i].nr = SYS_getppid;
		program.step[i].at_most = INT64_MAX;
		program.step[i].save = -1;
	}
	return program;
}

static enum ck_end walk(struct program *program, int32_t *last)
{
	*last = -1;
	return ck_walk(&program->head, last);
}

static void test_order_and_end(void)
{
	struct program program = fresh(3, 0);
	int32_t last;

	CHECK(walk(&program, &last) == CK_DONE);
	CHECK(last == 2 && program.head.next == 3 && program.head.failed == -1);
	for (int i = 0; i < 3; i++)
		CHECK(program.trace[i].result == getppid() && program.trace[i].begin && program.trace[i].end >= program.trace[i].begin);
	CHECK(program.trace[3].begin == 0);
}

static void test_slots(void)
{
	struct program program = fresh(3, 0);
	int32_t last;

	program.step[0].nr = SYS_dup;		/* dup(1) -> slot 5 */
	program.step[0].arg[0] = 1;
	program.step[0].save = 5;
	program.step[1].nr = SYS_fcntl;		/* fcntl(slot 5, F_GETFD) */
	program.step[1].arg[0] = 5;
	program.step[1].arg[1] = F_GETFD;
	program.step[1].slots = 1;
	program.step[2].nr = SYS_close;
	program.step[2].arg[0] = 5;
	program.step[2].slots = 1;
	CHECK(walk(&program, &last) == CK_DONE);
	CHECK(program.head.slot[5] > 2 && program.trace[0].result == program.head.slot[5]);
	CHECK(fcntl((int)program.head.slot[5], F_GETFD) == -1);
	program.head.next = 1;			/* again, on a closed descriptor: step 1 fails */
	CHECK(walk(&program, &last) == CK_FAILED);
	CHECK(program.head.failed == 1 && program.trace[1].result == -EBADF);
}

static void test_tolerated(void)
{
	struct program program = fresh(2, 0);
	int32_t last;

	program.step[0].nr = SYS_close;
	program.step[0].arg[0] = (uint64_t)-1;
	program.step[0].tolerated = (uint64_t)1 << EBADF;
	CHECK(walk(&program, &last) == CK_DONE);
	program = fresh(2, 0);
	program.step[0].nr = SYS_close;
	program.step[0].arg[0] = (uint64_t)-1;
	program.step[0].tolerated = ~((uint64_t)1 << EBADF);
	CHECK(walk(&program, &last) == CK_FAILED);
	CHECK(program.head.failed == 0 && program.trace[1].begin == 0);
}

static void test_limits_of_a_result(void)
{
	struct program program = fresh(2, 0);
	int32_t last;

	program.step[0].at_least = INT64_MAX;
	CHECK(walk(&program, &last) == CK_FAILED);
	CHECK(program.head.failed == 0);
	program = fresh(2, 0);
	program.step[0].at_most = 0;		/* getppid() returns more */
	CHECK(walk(&program, &last) == CK_LEFT);
	CHECK(last == 0 && program.head.failed == -1 && program.trace[1].begin == 0);
}

static void test_autopsy(void)
{
	struct program program = fresh(2, 2);
	int32_t last;

	program.step[1].nr = NO_SUCH_CALL;
	program.step[2].nr = NO_SUCH_CALL;	/* a failed step of the autopsy is no failure */
	CHECK(walk(&program, &last) == CK_FAILED);
	CHECK(program.head.failed == 1 && program.trace[2].result == -ENOSYS && program.trace[3].result == getppid());
	program = fresh(2, 2);
	program.step[0].nr = NO_SUCH_CALL;	/* a failure before autopsy_from has no autopsy */
	CHECK(walk(&program, &last) == CK_FAILED);
	CHECK(program.trace[2].begin == 0 && program.trace[3].begin == 0);
}

static void test_relocation(void)
{
	struct program program = fresh(1, 0);
	struct ck_child *child;
	char *name;

	program.step[0].arg[1] = offsetof(struct program, text);
	program.relocs[0] = offsetof(struct program, step) + offsetof(struct ck_step, arg) + 8;
	program.head.reloc_count = 1;
	strcpy(program.text, "moved");
	child = ck_load((const char *)&program, sizeof(program), -1);
	name = (char *)(uintptr_t)((struct program *)child->program)->step[0].arg[1];
	CHECK(name == ((struct program *)child->program)->text && strcmp(name, "moved") == 0);
	ck_relocate(child->program);		/* a second relocation changes nothing */
	CHECK((char *)(uintptr_t)((struct program *)child->program)->step[0].arg[1] == name);
	ck_unload(child);
}

static void test_numbers_and_clock(void)
{
	uint64_t a[2], b[2];

	CHECK(ck_number("close") == SYS_close && ck_number("execve") == SYS_execve && ck_number("nothing") == -1);
	ck_clock_pair(&a[0], &a[1]);
	usleep(2000);
	ck_clock_pair(&b[0], &b[1]);
	CHECK(b[0] > a[0] && b[1] >= a[1] + 1000000 && ck_clock() >= b[0]);
}

static void test_call_leaves_errno_alone(void)
{
	struct ck_trace trace;

	errno = 77;
	CHECK(ck_call(&trace, SYS_close, (uint64_t)-1, 0, 0, 0, 0, 0) == -EBADF);
	CHECK(errno == 77 && trace.result == -EBADF && trace.begin);
}

/* Run a program in a child with shared memory, by a clone that both the kernel and qemu-user implement. */
static int run_child(struct program *program, const char *path, struct program *after)
{
	int memfd = memfd_create("program", 0), status;
	struct ck_child *child;
	sigset_t before, now;
	int pid;

	if (memfd < 0 || ftruncate(memfd, sizeof(*program)))
		return -1;
	child = ck_load((const char *)program, sizeof(*program), memfd);
	if (path)
		((struct program *)child->program)->step[0].arg[0] = (uint64_t)(uintptr_t)path;
	sigprocmask(SIG_SETMASK, NULL, &before);
	pid = ck_start(child, CLONE_VM | CLONE_VFORK, -1);
	sigprocmask(SIG_SETMASK, NULL, &now);
	CHECK(memcmp(&before, &now, 8) == 0);
	CHECK(pid > 0);
	if (pid <= 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	memcpy(after, child->program, sizeof(*after));
	ck_unload(child);
	close(memfd);
	return status;
}

static void test_child(void)
{
	struct program program = fresh(2, 0), after;
	int status;

	program.step[1].nr = SYS_exit_group;
	program.step[1].arg[0] = 42;
	status = run_child(&program, NULL, &after);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	CHECK(after.trace[0].result == getpid() && after.head.started && after.trace[1].begin && !after.trace[1].end);
	program = fresh(2, 0);
	program.step[1].nr = NO_SUCH_CALL;
	status = run_child(&program, NULL, &after);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 127 && after.head.failed == 1 && after.trace[1].result == -ENOSYS);
	program = fresh(1, 0);
	program.step[0].at_most = 0;
	status = run_child(&program, NULL, &after);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0 && after.head.failed == -1);
}

/* ck-helper FD SIZE: continue a plan; as pid 1 forward signals and exit with the program's status. */
static int run_helper(const char *helper, struct program *program, struct program *after)
{
	char fd[16], size[16];
	int memfd = memfd_create("program", 0), status;
	struct program *shared;
	pid_t pid;

	if (memfd < 0 || ftruncate(memfd, sizeof(*program)))
		return -1;
	shared = mmap(NULL, sizeof(*program), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	memcpy(shared, program, sizeof(*program));
	snprintf(fd, sizeof(fd), "%d", memfd);
	snprintf(size, sizeof(size), "%zu", sizeof(*program));
	pid = fork();
	if (!pid) {
		sigset_t all;

		sigfillset(&all);			/* as ck_start() leaves it: SIGCHLD would be lost otherwise */
		sigprocmask(SIG_SETMASK, &all, NULL);
#if defined(__aarch64__)
		execlp("qemu-aarch64", "qemu-aarch64", helper, fd, size, (char *)NULL);
#endif
		execl(helper, "ck-helper", fd, size, (char *)NULL);
		_exit(99);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	memcpy(after, shared, sizeof(*after));
	munmap(shared, sizeof(*program));
	close(memfd);
	return status;
}

static void test_helper(const char *helper)
{
	struct program program = fresh(3, 0), after;
	int status;

	program.step[2].nr = SYS_exit_group;
	program.step[2].arg[0] = 33;
	status = run_helper(helper, &program, &after);	/* step 0 is the helper's mmap, of which only the times are recorded */
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 33);
	CHECK(after.trace[0].begin && after.trace[1].result > 0 && after.trace[2].begin);

	program = fresh(3, 0);
	program.step[2].nr = NO_SUCH_CALL;
	status = run_helper(helper, &program, &after);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 127 && after.head.failed == 2);

	program = fresh(3, 0);				/* clone; the parent stays, the child exits with 9 */
	program.head.init = 1;
	program.step[1].nr = SYS_clone;
	program.step[1].arg[0] = CLONE_PARENT_SETTID | SIGCHLD;
	program.step[1].at_most = 0;
	program.step[1].arg[2] = offsetof(struct ck_program, payload);
	program.relocs[0] = offsetof(struct program, step) + sizeof(struct ck_step) + offsetof(struct ck_step, arg) + 16;
	program.head.reloc_count = 1;
	program.step[2].nr = SYS_exit_group;
	program.step[2].arg[0] = 9;
	status = run_helper(helper, &program, &after);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
	CHECK(after.head.payload > 0 && after.head.failed == -1);
}

int main(int argc, char **argv)
{
	test_order_and_end();
	test_slots();
	test_tolerated();
	test_limits_of_a_result();
	test_autopsy();
	test_relocation();
	test_numbers_and_clock();
	test_call_leaves_errno_alone();
	test_child();
	if (argc > 1)
		test_helper(argv[1]);
	if (failures)
		printf("%d checks failed\n", failures);
	else
		printf("all passed\n");
	return failures != 0;
}
