"""From a program to a process: the parent's side of the timeline.

On return the child is running its program, or it never existed: a failure at any step ends the child, undoes what the
parent had done, closes all descriptors, and raises the StepError of that step.  The caller's thread, signal mask,
working directory, namespaces and descriptors are as they were.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from errno import EINTR, ENOENT, ENOTDIR

from ..base import late
from ..linux import dumpable, procfs, sockets
from ..linux.native import extension
from ..linux.syscalls import CLONE
from ..state.journal import sweep_once
from . import guardian
from .compiler import Program
from .descriptors import ChildDescriptors, fileno
from .errors import StepError
from .exec_failure import interpreter
from .parent import ParentExecutor
from .process import Process, end_child, readable, run_undo
from .standard_steps import GUARDIAN, OWN
from .stdio import NAMES, Stream, Streams, open_streams
from .step import Step
from .trace import ENTRY, Raw, Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ADDED_BY_CK_START = int(CLONE.CLEAR_SIGHAND | CLONE.INTO_CGROUP)


def spawn(
    program: Program, streams: tuple[Stream, Stream, Stream], passed: Mapping[int, Stream], *, size: tuple[int, int] | None = None,
    timeout: float | None = None,
) -> Process:  # fmt: skip
    """Run a program.

    :param size: the terminal's rows and columns
    :param timeout: seconds from this call to the program's first instruction, or None to wait for ever
    :raises StepError: for the step that failed;  :raises Unavailable: this kernel lacks something
    :raises subprocess.TimeoutExpired: the program does not run yet; nothing is left behind
    """
    sweep_once()
    deadline = None if timeout is None else time.monotonic() + timeout
    opened = open_streams(streams, program.timeline.owner, own_terminal=program.timeline.own_terminal, size=size)
    try:
        given = {NAMES[n]: fd for n, fd in opened.child.items()} | {f"fd{n}": fileno(s) for n, s in passed.items()}
        return _Spawn(program, timeout, deadline).run(opened, given)
    except BaseException:
        opened.close()
        raise


class _Spawn:
    """One spawn under way."""

    def __init__(self, program: Program, timeout: float | None = None, deadline: float | None = None) -> None:
        self.timeout, self.deadline = timeout, deadline
        self.program, self.steps = program, program.timeline.steps
        self.inputs = ChildDescriptors(program.timeline.inputs, program.code)
        self.parent = ParentExecutor(self.inputs)
        self.lib, self.ffi = extension().lib, extension().ffi
        self.pidfd = -1
        self.terminal: int | None = None  # our end, where the child opens it
        self.child: Any = None  # struct ck_child *

    def run(self, opened: Streams, given: Mapping[str, int]) -> Process:
        with dumpable.changing_ids() if self.program.changes_ids else contextlib.nullcontext():
            return self._run(opened, given)

    def _run(self, opened: Streams, given: Mapping[str, int]) -> Process:
        try:
            self._spawn({**given, **self._guardian()})
            trace = self.trace()
        except late.subprocess.TimeoutExpired as error:
            from .spawn_timeout import SpawnTimeout

            expired = SpawnTimeout(error.cmd, error.timeout)
            expired.trace = self.trace()
            self._abort()
            raise expired from None
        except BaseException:
            self._abort()
            raise
        finally:
            self._unload()
            self.inputs.close()
            self.parent.close_slots()
            opened.close_child_ends()
        master = self.terminal if self.terminal is not None else opened.master
        return Process(self.parent.pid, self.pidfd, trace, opened.ours, master, self.parent.undo, self.program.forks)

    def _guardian(self) -> dict[str, int]:
        """Return the socket on which the child registers; it also holds the place of the child's own pidfd until there is one."""
        if GUARDIAN.name not in self.program.timeline.asks:
            return {}
        door = guardian.door()
        return {GUARDIAN.name: door, OWN.name: door}

    def _spawn(self, given: Mapping[str, int]) -> None:
        if self.program.talks_of_proc:
            self.inputs.proc()
        elif self.program.trusts_proc:  # the child's mounts are a copy of ours
            with procfs.proven():
                pass
        at = self.program.clone
        self._parent_steps(range(at))
        self._clone(at, self.inputs.sources({**given, **self.parent.slots}))
        if self.program.timeline.needs_sync:
            self._talk()
        self._await_exec()
        self._verdict()

    def _clone(self, at: int, sources: Mapping[str, int]) -> None:
        code = self.program.code
        self.child = self.lib.ck_load(code, len(code), self.inputs.program)
        if self.child == self.ffi.NULL:
            self.child = None
            raise MemoryError("no memory for the plan's program")
        for name, fd in sources.items():
            self.child.program.slot[self.program.slots[f"caller.{name}"]] = fd
        flags, *cgroup = self.steps[at].call.args
        assert isinstance(flags, int)
        if self.deadline is not None:
            flags &= ~CLONE.VFORK  # it would block this thread for as long as the child is blocked
        for written in self.parent.written:
            written.cloning()
        pid = self.lib.ck_start(self.child, int(flags) & ~ADDED_BY_CK_START, self.parent.value(cgroup[0], []) if cgroup else -1)
        began = self.child.program.started or self.child.end
        self.parent.trace[at] = (pid, self.child.begin, began)
        if pid < 0:
            self._fail(self.steps[at], -pid)
        self.pidfd = self.child.pidfd
        self._is(pid)

    def _is(self, pid: int) -> None:
        """Note the child's process id, also in what is written down for the sweep."""
        self.parent.pid = pid
        for written in self.parent.written:
            written.child(pid)

    # --- two actors ----------------------------------------------------------------------------------------------

    def _talk(self) -> None:
        """Make the parent's steps after the clone, each time the child says that it is the parent's turn."""
        self.inputs.release_sync()
        for turn in self.program.turns:
            if not self._hear():
                return
            self._parent_steps(turn.places)
            if turn.answered:
                self._say()

    def _hear(self) -> bool:
        """Whether the child reached its handshake; at the end of file it has failed instead."""
        heard = self._receive()
        if heard and self.program.forks:
            self._adopt()
        return heard

    def _receive(self) -> bool:
        """Return one byte of the child's, or False at the end of file; what it had not read of ours makes that a reset."""
        assert self.inputs.ours
        self._await(self.inputs.ours.fileno())
        with contextlib.suppress(ConnectionResetError):
            if not self.program.timeline.own_terminal or self.terminal is not None:
                return bool(self.inputs.ours.recv(1))
            said, handed, _, _ = self.inputs.ours.recvmsg(1, sockets.CMSG_LEN(4), sockets.MSG_CMSG_CLOEXEC)
            if handed:  # our end of the terminal, beside a byte that is no handshake
                self.terminal = int.from_bytes(handed[0][2], "little")
            return self._receive() if handed else bool(said)
        return False

    # --- time ----------------------------------------------------------------------------------------------------

    def _left(self) -> float | None:
        """Return the seconds that are left, or None without a limit.  :raises subprocess.TimeoutExpired: none are left"""
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self._expired()
        return left

    def _expired(self) -> late.subprocess.TimeoutExpired:
        return late.subprocess.TimeoutExpired(self.program.timeline.what, self.timeout or 0.0)

    def _await(self, fd: int) -> None:
        """Wait until there is something to read, as long as the caller's time allows."""
        left = self._left()
        if left is not None and not readable(fd, left):
            raise self._expired()

    def _say(self) -> None:
        assert self.inputs.ours
        with contextlib.suppress(BrokenPipeError):
            self.inputs.ours.send(b".", sockets.MSG_NOSIGNAL)

    def _parent_steps(self, places: Sequence[int]) -> None:
        failed = self.parent.make_all(self.steps, places, self.program.calls, self._left)
        if failed >= 0:
            if self.child and self.child.program.failed >= 0:
                self._verdict()  # the child failed first, so this step could not have it
            self._fail(self.steps[failed], max(0, -self.parent.trace[failed][0]), self.parent.said)

    # --- how it ended --------------------------------------------------------------------------------------------

    def _await_exec(self) -> None:
        """Wait until the child has left our memory and, where a helper continues the plan, has become the program."""
        while self.lib.ck_await_release(self.child, self._slice()):
            pass  # in slices, so that Ctrl-C gets through
        if self.program.timeline.needs_program_file:
            while self._receive():
                pass
        elif self.program.timeline.own_terminal:
            self._receive()

    def _slice(self) -> int:
        """Return the milliseconds to wait now, at most 200."""
        left = self._left()
        return 200 if left is None else min(200, int(left * 1000) + 1)

    def _verdict(self) -> None:
        """Raise StepError where a step failed or the child was killed on its way; return where the program runs."""
        if self.program.forks:
            self._adopt()
        head = self.child.program
        if 0 <= head.failed < len(self.program.child_steps):
            self._fail_in_child(head.failed, list(ENTRY.iter_unpack(self._child_trace())))
        if head.next <= self.program.execs[0]:
            at = next(i for i, entry in enumerate(ENTRY.iter_unpack(self._child_trace())) if not entry[2])
            self._fail(self.program.child_steps[at], EINTR, "the child was killed from outside before this step was done")

    def _adopt(self) -> None:
        """Wait for the helper, and continue with the child that it cloned for the caller."""
        forked = self.child.program.forked
        if forked > 0 and forked != self.parent.pid:
            self._await(self.pidfd)
            with contextlib.suppress(ChildProcessError):  # the caller ignores SIGCHLD, and the kernel collected it
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            helper, self.pidfd, self.child.pidfd = self.pidfd, -1, -1
            os.close(helper)
            self.pidfd = _child_of_ours(forked)
            self._is(forked)

    def _fail_in_child(self, index: int, trace: list[Raw]) -> None:
        """Report the try to find the program that got furthest: it says the most."""
        tries, detail = [i for i in self.program.execs if trace[i][1]], ""
        if index in tries:
            index = next((i for i in tries if -trace[i][0] not in (ENOENT, ENOTDIR)), index)
            detail = self._why_missing(tries) if -trace[index][0] in (ENOENT, ENOTDIR) else ""
        self._fail(self.program.child_steps[index], max(0, -trace[index][0]), detail)

    def _why_missing(self, tries: list[int]) -> str:
        """Explain ENOENT of an exec: the program or its interpreter is missing.  The autopsy read the file, which tells."""
        for i, index in enumerate(tries):
            offset, size = self.program.spaces[f"program{i}"]
            data = bytes(self.ffi.buffer(self.ffi.cast("char *", self.child.program) + offset, size))
            path, wanted = self.program.child_steps[index].call.args[0], interpreter(data)
            if wanted and isinstance(path, bytes):
                return f"{os.fsdecode(path)} is there, but its interpreter {wanted} is not: add it to the root"
        if len(tries) < 2:
            return ""
        paths = [os.fsdecode(path) for i in tries if isinstance(path := self.program.child_steps[i].call.args[0], bytes)]
        return f"no such program in this root, in none of {':'.join(os.path.dirname(path) for path in paths)}"

    def _fail(self, step: Step, errno: int, detail: str = "") -> None:
        raise StepError(step, errno, trace=self.trace(), detail=detail)

    def _abort(self) -> None:
        """End the child, wait until it has left our memory, and undo the parent's steps.

        Ctrl-C may have come at any moment, so the values that the kernel wrote into `child` count, not our copies.
        """
        self.inputs.hang_up()
        if self.terminal is not None:
            os.close(self.terminal)
        if self.child:
            pidfd = self.pidfd if self.pidfd >= 0 else self.child.pidfd
            if pidfd >= 0:
                self._end(pidfd)
            if self.program.forks:
                self._end_forked()
        run_undo(self.parent.undo)

    def _end(self, pidfd: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has another user by now: it ends at its next handshake
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self.lib.ck_await_release(self.child, -1)
        end_child(pidfd)
        os.close(pidfd)

    def _end_forked(self) -> None:
        """End the child that the helper cloned, where it was not adopted yet, after a check that it is a child of ours."""
        forked = self.child.program.forked
        if forked > 0 and (forked != self.parent.pid or self.pidfd < 0):
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                pidfd = _child_of_ours(forked)
                try:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    end_child(pidfd)
                finally:
                    os.close(pidfd)

    def _unload(self) -> None:
        if self.child:
            self.lib.ck_unload(self.child)
            self.child = None

    # --- the trace -----------------------------------------------------------------------------------------------

    def _child_trace(self) -> bytes:
        """Return a copy of the entries.  They are decoded only when the trace is read, which most callers never do."""
        at, size = self.program.traces, ENTRY.size * len(self.program.child_steps)
        return self.ffi.buffer(self.child.program, at + size)[at:]  # type: ignore[no-any-return]

    def trace(self) -> Trace:
        """Return the steps that were made so far."""
        return Trace(self.steps, self.parent.trace, self._child_trace() if self.child else b"")


def _child_of_ours(pid: int) -> int:
    """Return a pidfd of a child.  Raise ChildProcessError for any other process, so that no later failure can kill it."""
    pidfd = os.pidfd_open(pid)
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        os.close(pidfd)
        raise
    return pidfd
