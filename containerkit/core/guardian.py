"""The guardian: a process that ends this process's programs when this one has ended, however it ended.

A program that was asked to die with its parent (PR_SET_PDEATHSIG) may take that back.  The guardian holds pidfds of the
program and of the thread that spawned it, and kills the program when the thread has ended.  There is one guardian for each
calling process.  The first plan with ``die_with_parent`` starts it, and it ends with its process.  It is csrc/guardian.h:
a static program without a file of the caller's open, in a session of its own, and no child of the caller's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from collections.abc import Iterable
from errno import EINVAL, ENOSYS, EPERM
from functools import cache

from ..errors import Unavailable
from ..linux import sockets, syscalls
from ..linux.kept import file_of, is_still, keeps
from ..linux.native import extension, number
from ..linux.syscalls import AT_EMPTY_PATH, CLONE, Call, Fd, Labelled, Slot, Strings
from .compiler import Program, compile_timeline
from .descriptors import SEALS, helper, memfd
from .errors import StepError
from .step import Phase, Side, Step
from .timeline import Timeline
from .trace import ENTRY, Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DOOR, LIFE, PROGRAM = Fd("door"), Fd("life"), Fd("helper")
INPUTS = {0: DOOR, 1: LIFE, 3: PROGRAM}
WAIT_ALL = 0x40000000  # __WALL: also for a child that sends no signal at its end
GET_CHILD_SUBREAPER = 37


class _Guardian:
    """Our end of the socket to a guardian.

    :ivar fd: the descriptor
    :ivar key: device and inode of the socket: a caller that closes descriptors it does not know may have closed this one
    """

    def __init__(self) -> None:
        ours, theirs = sockets.socketpair(sockets.AF_UNIX, sockets.SOCK_SEQPACKET)
        with contextlib.closing(ours), contextlib.closing(theirs):
            theirs.setsockopt(sockets.SOL_SOCKET, sockets.SO_PASSCRED, 1)
            _start(theirs.fileno())
            self.fd = ours.detach()
        self.key = file_of(self.fd)

    def open(self) -> bool:
        """Whether the descriptor is still the one that was made here."""
        return is_still(self.fd, self.key)

    def alive(self) -> bool:
        """Whether it is there and its guardian has the other end open."""
        poll = select.poll()
        poll.register(self.fd, 0)  # a hang-up is always reported
        return self.open() and not poll.poll(0)


_current: _Guardian | None = None
_retired: list[_Guardian] = []  # another thread may be about to pass the descriptor of one that was killed
_lock = threading.Lock()


def door() -> int:
    """Return the descriptor of the socket on which a child registers.  Start the guardian where there is none.

    :raises OSError: no more processes or descriptors
    :raises StepError: a step on the way to the guardian failed
    """
    global _current
    found = _current
    if found is None or not found.alive():
        with _lock:
            if _current is None or not _current.alive():
                _retired.extend([_current] if _current else [])
                _current = _Guardian()
            found = _current
    return found.fd


@keeps
def descriptors() -> set[int]:
    """Return the descriptors that this module keeps open in this process."""
    known = [*_retired, *([_current] if _current else [])]
    return {each.fd for each in known if each.open()}


def _forget() -> None:
    """Forget the guardian after os.fork(): it is the parent's."""
    global _current, _lock
    known, _current, _lock = [*_retired, *([_current] if _current else [])], None, threading.Lock()
    _retired.clear()
    for each in known:
        if each.open():
            os.close(each.fd)


os.register_at_fork(after_in_child=_forget)


# --- starting one ------------------------------------------------------------------------------------------------


def _start(theirs: int) -> None:
    life = os.pidfd_open(os.getpid())
    try:
        program = memfd("ck-guardian", helper(), SEALS | fcntl.F_SEAL_WRITE)
        try:
            _spawn(_program(_adopts_orphans()), {DOOR.name: theirs, LIFE.name: life, PROGRAM.name: program})
        finally:
            os.close(program)
    finally:
        os.close(life)


def _adopts_orphans() -> bool:
    """Whether an orphan of ours becomes our child again: then there is no family for a guardian to leave."""
    ffi, answer = extension().ffi, extension().ffi.new("int *")
    trace = ffi.new("struct ck_trace *")
    extension().lib.ck_call(trace, number("prctl"), GET_CHILD_SUBREAPER, int(ffi.cast("uintptr_t", answer)), 0, 0, 0, 0)
    return os.getpid() == 1 or bool(answer[0])


@cache
def _program(stays: bool) -> Program:
    return compile_timeline(Timeline(tuple(_steps(stays)), INPUTS))


def _steps(stays: bool) -> Iterable[Step]:
    flags = CLONE.VM | CLONE.PIDFD | CLONE.CHILD_CLEARTID | CLONE.CLEAR_SIGHAND | CLONE.VFORK
    yield Step.parent(Phase.CLONE, syscalls.clone3(flags), why="the guardian of this process's programs")
    calls: list[tuple[Call, str, frozenset[int]]] = [
        (syscalls.dup3(Slot(f"caller.{fd.name}"), at, 0 if fd != PROGRAM else syscalls.O.CLOEXEC), f"{fd.name} becomes {at}", frozenset())
        for at, fd in INPUTS.items()
    ]
    closed = "none of the caller's files stays open"
    calls += [(syscalls.close_range(first, last), closed, frozenset()) for first, last in ((2, 2), (4, 0xFFFFFFFF))]
    calls += [
        (syscalls.setsid(), "no terminal's signals", frozenset()),
        (syscalls.chdir("/"), "no directory of the caller's in use", frozenset()),
    ]
    spaces = CLONE.NEWNET | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWCGROUP
    # A thread may be in other namespaces than its process.  Where this fails, such a namespace may live as long as this process.
    calls += [(syscalls.setns(LIFE, spaces), "no namespace of one thread's in use", frozenset({EPERM, EINVAL, ENOSYS}))]
    argv = Strings((b"ck-guardian", b"0" if stays else b"1"))
    become = Call("execveat", (PROGRAM, b"", argv, Strings(()), Labelled(AT_EMPTY_PATH, "EMPTY_PATH")))
    calls += [(become, "become the guardian", frozenset())]
    yield from (Step.child(Phase.CLONE, call, why=why, tolerates=tolerated) for call, why, tolerated in calls)


def _spawn(program: Program, given: dict[str, int]) -> None:
    """Run the guardian's few steps.  The child sends no signal at its end, so no wait(2) of the caller's meets it."""
    lib, ffi = extension().lib, extension().ffi
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(INPUTS) + 1) for fd in given.values()]
    child = lib.ck_load(program.code, len(program.code), -1)
    try:
        if child == ffi.NULL:
            raise MemoryError("no memory for the guardian's plan")
        for name, fd in zip(given, above, strict=True):
            child.program.slot[program.slots[f"caller.{name}"]] = fd
        child.exit_signal = 0
        flags = int(program.timeline.steps[0].call.args[0]) & ~int(CLONE.CLEAR_SIGHAND)  # type: ignore[arg-type]
        _started(program, child, lib.ck_start(child, flags, -1))
    finally:
        for fd in above:
            os.close(fd)
        if child != ffi.NULL:
            lib.ck_unload(child)


def _started(program: Program, child: Any, pid: int) -> None:
    """Wait for the process that leaves the guardian behind.  :raises StepError: a step failed"""
    if pid < 0:
        raise StepError(program.timeline.steps[0], -pid, trace=Trace(program.timeline.steps, {}, b""))
    failed = child.program.failed
    try:
        if failed >= 0 or not _adopts_orphans():
            ended = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | WAIT_ALL)
            if failed < 0 and ended and ended.si_status:
                raise Unavailable("the guardian of programs that die with their caller", probed="clone(2): no more processes")
    finally:
        os.close(child.pidfd)
    if failed >= 0:
        size = ENTRY.size * len(program.child_steps)
        data = extension().ffi.buffer(child.program, program.traces + size)[program.traces :]
        errno = -next(ENTRY.iter_unpack(data[failed * ENTRY.size :]))[0]
        step = [s for s in program.timeline.steps if s.side is Side.CHILD][failed]
        raise StepError(step, errno, trace=Trace(program.timeline.steps, {}, data))
