"""The descriptors a child gets: the caller's streams and files, and the plan's own.

All are close-on-exec in the caller, and above every number that the child's dup3 calls will overwrite.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Mapping
from functools import cache

from ..errors import Unavailable
from ..linux import procfs, sockets
from ..linux.kept import FileId, file_of, is_still, keeps
from ..linux.procfs import PROC
from ..linux.syscalls import Fd
from .standard_steps import CALLER, HELPER, PROGRAM, SYNC
from .stdio import Stream

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
MFD_EXEC = 0x10

_sync_ends: set[int] = set()


def _forget_sync_ends() -> None:
    """Close the children's ends after os.fork() in another thread: a copy there would hide a child's exec from its spawner."""
    while _sync_ends:
        with contextlib.suppress(OSError):
            os.close(_sync_ends.pop())


os.register_at_fork(after_in_child=_forget_sync_ends)


def fileno(stream: Stream) -> int:
    """Return the descriptor behind a stream that is one."""
    assert stream is not None
    return stream if isinstance(stream, int) else stream.fileno()


@cache
def helper() -> bytes:
    """Return the bytes of csrc/helper.c, compiled.  Raise Unavailable where it was not."""
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "libexec", "ck-helper")
    if not os.path.isfile(path):
        raise Unavailable("the helper program", probed=path, remedy="install a wheel, or build with a C compiler")
    with open(path, "rb") as file:
        return file.read()


def memfd(name: str, data: bytes | int, seals: int) -> int:
    """Return an anonymous file with `data` in it, sealed; executable where the kernel lets one say so.

    :param data: its bytes, or their number, where a caller writes them later through a mapping
    :see: memfd_create(2)
    """
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | MFD_EXEC)
    except OSError:  # before 6.3, where every memfd is executable
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if isinstance(data, int):
            os.ftruncate(fd, data)
        else:
            with open(fd, "wb", closefd=False) as file:
                file.write(data)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(fd)
        raise
    return fd


class _Helper:
    """The sealed file of the helper, which all spawns of this process execute: no process can change it."""

    def __init__(self) -> None:
        self._kept: tuple[int, FileId] | None = None
        self._forget_lock()
        os.register_at_fork(after_in_child=self._forget_lock)

    def _forget_lock(self) -> None:
        """Make a new lock after a fork: another thread may have held the old one."""
        self._lock = threading.Lock()

    def fileno(self) -> int:
        with self._lock:
            if self._kept is None or not is_still(*self._kept):
                fd = memfd("ck-helper", helper(), SEALS | fcntl.F_SEAL_WRITE)
                self._kept = fd, file_of(fd)
            return self._kept[0]

    def kept(self) -> frozenset[int]:
        """Return the descriptor that stays open for as long as this process runs."""
        with self._lock:
            return frozenset({self._kept[0]} if self._kept and is_still(*self._kept) else ())


_helper = _Helper()
keeps(_helper.kept)

PIDFD_THREAD = os.O_EXCL  # since Linux 6.9


def calling_thread() -> int:
    """Return a pidfd of the calling thread; before Linux 6.9, of its process.  :see: pidfd_open(2)"""
    try:
        return os.pidfd_open(threading.get_native_id(), PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.pidfd_open(os.getpid())


class ChildDescriptors:
    """The descriptors of one spawn.  close() closes those it made."""

    def __init__(self, wanted: Mapping[int, Fd], code: bytes) -> None:
        self.wanted, self.code = wanted, code
        self.last = max(wanted, default=2)
        self.made: list[int] = []
        self.ours: sockets.socket | None = None
        self.program = self.theirs = self.parents_proc = -1

    def sources(self, given: Mapping[str, int]) -> dict[str, int]:
        """Return input name -> a descriptor of this process.  `given` has those the caller brought."""
        return {source.name: self._source(source, given) for source in self.wanted.values()}

    def _source(self, source: Fd, given: Mapping[str, int]) -> int:
        if source.name in given:
            fd = given[source.name]
        elif source.source is not None:
            fd = fileno(source.source)
        else:
            return self._make(source)
        return fd if fd > self.last else self._keep(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, self.last + 1))

    def _make(self, source: Fd) -> int:
        if source == SYNC:
            return self._make_sync()
        if source == CALLER:
            return self._keep(self._raised(calling_thread()))
        if source == PROC:
            return self._keep(self._raised(procfs.opened()))
        if source == HELPER:
            return self._keep(fcntl.fcntl(_helper.fileno(), fcntl.F_DUPFD_CLOEXEC, self.last + 1))
        assert source == PROGRAM, source
        self.program = self._keep(self._raised(memfd("ck-program", len(self.code), SEALS)))
        return self.program

    def proc(self) -> int:
        """Return the proven procfs for steps of the parent, in which the child's number means the child."""
        if self.parents_proc < 0:
            self.parents_proc = self._keep(procfs.opened(of_this_pid_namespace=True))
        return self.parents_proc

    def _make_sync(self) -> int:
        self.ours, theirs = sockets.socketpair(sockets.AF_UNIX, sockets.SOCK_STREAM)
        self.theirs = self._raised(theirs.detach())
        _sync_ends.add(self.theirs)
        return self.theirs

    def _raised(self, fd: int) -> int:
        if fd > self.last:
            return fd
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, self.last + 1)
        finally:
            os.close(fd)

    def _keep(self, fd: int) -> int:
        self.made.append(fd)
        return fd

    def release_sync(self) -> None:
        """Close our copy of the child's socket end, so that the child's exit reads as end-of-file."""
        if self.theirs >= 0:
            theirs, self.theirs = self.theirs, -1  # first, for Ctrl-C may come in between
            _sync_ends.discard(theirs)
            os.close(theirs)

    def hang_up(self) -> None:
        """Close our socket end, so that a child that waits for its turn gives up."""
        if self.ours:
            self.ours.close()

    def close(self) -> None:
        """Close every descriptor that was made for this spawn."""
        self.release_sync()
        self.hang_up()
        while self.made:
            os.close(self.made.pop())
