"""Locks that the kernel drops with their holder, however that ends.

`hold` and `is_held` say which process owns a thing: a lock that lives as long as the owner does.  `locked` and `try_lock` let one
process at a time change a thing: a lock for a moment.  All of them belong to an open file, not to a process: a second open file of
the same process is a stranger, and a process that inherits the descriptor holds the same lock.

:see: fcntl(2), open file description locks;  flock(2)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator

__all__ = ["hold", "is_held", "locked", "try_lock"]

FLOCK = "hhxxxxqqixxxx"  # struct flock: type, whence, start, length, pid


def _whole(kind: int) -> bytes:
    return struct.pack(FLOCK, kind, os.SEEK_SET, 0, 0, 0)


def hold(fd: int, *, wait: bool = False) -> bool:
    """Lock a whole file for as long as `fd`, or a descriptor inherited from it, is open.  Return False where another holds it.

    Version 0.1 asks with flock(2), which does not see the other kind of lock: so that is taken too.

    :param fd: a regular file, open for writing
    :param wait: wait until no other holds it
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, _whole(fcntl.F_WRLCK))
    except (BlockingIOError, PermissionError):  # some file systems say EACCES
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _whole(fcntl.F_UNLCK))
        return False
    return True


def is_held(fd: int) -> bool:
    """Whether another open file holds the lock.  Takes nothing, so that any number of processes may ask at once."""
    kind: int = struct.unpack(FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _whole(fcntl.F_WRLCK)))[0]
    return kind != fcntl.F_UNLCK


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], *, shared: bool = False) -> Iterator[int]:
    """Wait for an flock(2) on a file and hold it.  Two threads exclude each other too.

    :param path: a file, which is made where it is missing, or a directory
    :param shared: many may hold it at once, while none holds it alone
    :see: flock(2)
    """
    flags = os.O_RDONLY | os.O_DIRECTORY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def try_lock(path: str | os.PathLike[str], *, shared: bool = False) -> int | None:
    """Return the descriptor of a directory that nobody holds, now held by the caller; or None.

    :param shared: as for `locked`
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd
