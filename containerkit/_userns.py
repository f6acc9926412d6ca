"""A user namespace with nobody in it, whose map says how a mount shows the ids of files.

    Shown(uids, gids).fileno()      a descriptor of one that maps these ranges, made once for each process

An idmapped mount is made before its container is there, so it cannot use the container's own namespace; any namespace with the
same ranges does.  Nothing ever runs in this one: the child that it is made with waits in read(2), and is killed.
:see: mount_setattr(2), user_namespaces(7)
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

from . import vfs
from ._idmaps import Range
from .actor import Actor
from .errors import StepError, Unavailable
from .program import Program, compile_timeline, extension
from .step import Phase, Step
from .syscalls import CLONE, Call, Fd, Slot, Space, clone3, close_range, dup3, read
from .timeline import Timeline

__all__ = ["Shown", "kept"]

Ranges = tuple[Range, ...]

_kept: dict[tuple[Ranges, Ranges], int] = {}
_lock = threading.Lock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@dataclass(frozen=True, slots=True)
class Shown:
    """Ranges of ids as a descriptor.

    :param uids, gids: (inside, outside, count)
    """

    uids: Ranges
    gids: Ranges

    def fileno(self) -> int:
        """The descriptor of a user namespace with this map; it stays open as long as this process.

        :raises Unavailable: the kernel refuses one
        """
        with _lock:
            key = self.uids, self.gids
            if key not in _kept:
                _kept[key] = _make(*key)
            return _kept[key]


def refusal(directory: str | os.PathLike[str]) -> str:
    """Why files below a directory cannot be shown with other ids; "" where they can."""
    ids = Fd("another map", Shown(((0, 1, 1),), ((0, 1, 1),)))
    steps = [Step.parent(Phase.PREPARE, Call("dup", (ids,)), why="to try it with", save=vfs.IDS)]
    steps += vfs.translated(os.fspath(directory), "to try it on", 0, False, vfs.IDS, Slot("tried"))
    try:
        Actor().perform(steps)
    except StepError as error:
        return error.strerror or str(error)
    except Unavailable as error:
        return str(error)
    return ""


def kept() -> set[int]:
    """The descriptors that this process keeps on purpose."""
    return set(_kept.values())


@cache
def _waiting(fd: int) -> Program:
    """A child in a new user namespace that waits for the end of `fd` with nothing else open."""
    calls: list[tuple[Call, str]] = [
        (dup3(fd, 0), "ends when the caller does"),
        (close_range(1), "nothing of the caller's stays open"),
        (read(0, Space(1, "end")), "wait to be killed"),
    ]
    flags = CLONE.VM | CLONE.PIDFD | CLONE.CHILD_CLEARTID | CLONE.CLEAR_SIGHAND | CLONE.NEWUSER
    clone = Step.parent(Phase.CLONE, clone3(flags), why="a user namespace to take hold of")
    return compile_timeline(Timeline((clone, *(Step.child(Phase.CLONE, call, why=why) for call, why in calls)), {}))


def _make(uids: Ranges, gids: Ranges) -> int:
    lib, ffi = extension().lib, extension().ffi
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child: Any = ffi.NULL
    try:
        program = _waiting(reader)
        child = lib.ck_load(program.image, len(program.image), -1)
        if child == ffi.NULL:
            raise MemoryError("no memory for a child")
        pid = lib.ck_start(child, int(CLONE.VM | CLONE.PIDFD | CLONE.CHILD_CLEARTID | CLONE.NEWUSER), -1)
        if pid < 0:
            remedy = "sysctl user.max_user_namespaces; or the caller's own ids inside: ns.User.same()"
            raise Unavailable("a user namespace", probed=f"clone3(NEWUSER): {os.strerror(-pid)}", remedy=remedy)
        return _mapped(pid, uids, gids)
    finally:
        if child != ffi.NULL:
            _end(lib, child)
            lib.ck_unload(child)
        os.close(reader)
        os.close(writer)


def _mapped(pid: int, uids: Ranges, gids: Ranges) -> int:
    for kind, ranges in (("uid", uids), ("gid", gids)):
        with open(f"/proc/{pid}/{kind}_map", "wb", buffering=0) as file:
            file.write(b"\n".join(b"%d %d %d" % each for each in ranges))
    return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _end(lib: Any, child: Any) -> None:
    if child.pidfd < 0:
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    lib.ck_await_release(child, -1)
    with contextlib.suppress(ChildProcessError):  # the caller ignores SIGCHLD, and the kernel collected it
        os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    os.close(child.pidfd)
