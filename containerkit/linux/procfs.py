"""A procfs that is proven to be one, and the files in it.

A path such as /proc/self/uid_map leads wherever the mounts of its reader say.  In a mount namespace that a stranger
made, that may be any file of root's (CVE-2019-16884, CVE-2025-52881).  So a plan writes there through a descriptor that
the parent opened in its own mount namespace before the child joined another one, and the kernel resolves the rest below
it without leaving that mount.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

from ..errors import PlanError, Unavailable
from . import native, syscalls
from .facts import ask, read
from .syscalls import RESOLVE, Call, Fd

PLACE = "/proc/"
PROC = Fd("proc")
"""The name that steps use for the proven procfs, which the parent opens before the clone."""

_SUPER_MAGIC = 0x9FA0  # PROC_SUPER_MAGIC in linux/magic.h
_CAPABILITY_VERSION = 0x20080522  # with 64 bits a set: twice effective, permitted, inheritable
REMEDY = "mount -t proc proc /proc, in the mount namespace of the caller"


def opened(*, of_this_pid_namespace: bool = False) -> int:
    """Return a descriptor of /proc, close-on-exec, which the caller closes.

    :param of_this_pid_namespace: the numbers in it must mean the processes that they mean here
    :raises Unavailable: another filesystem is mounted there, or the procfs of another pid namespace
    """
    try:
        fd = os.open(PLACE, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable("a procfs", probed=f"{PLACE}: {error.strerror}", remedy=REMEDY) from error
    try:
        _prove(fd)
        if of_this_pid_namespace and _own_number(fd) != str(os.getpid()):
            raise Unavailable("a procfs of this pid namespace", probed=f"{PLACE}self is {_own_number(fd) or 'no process'}", remedy=REMEDY)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _prove(fd: int) -> None:
    status = bytearray(512)  # struct statfs has 120 bytes, and begins with f_type, a long
    native.call("fstatfs", fd, status)
    if struct.unpack_from("l", status)[0] != _SUPER_MAGIC:
        raise Unavailable("a procfs", probed=f"{PLACE} is another file system", remedy=REMEDY)


def _own_number(fd: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink("self", dir_fd=fd)
    return ""


@contextlib.contextmanager
def proven(*, of_this_pid_namespace: bool = False) -> Iterator[int]:
    """`opened`, for a block of code."""
    fd = opened(of_this_pid_namespace=of_this_pid_namespace)
    try:
        yield fd
    finally:
        os.close(fd)


def directory(fd: int, path: str) -> int:
    """Open a directory below a proven procfs; the caller closes it.  Nothing that is mounted over it counts.

    :raises OSError: it is not there, or something is mounted on the way
    """
    flag = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    how = struct.pack("QQQ", flag, 0, RESOLVE.BENEATH | RESOLVE.NO_XDEV | RESOLVE.NO_MAGICLINKS)
    try:
        return native.call("openat2", fd, os.fsencode(path) + b"\0", how, len(how))
    except OSError as error:
        raise OSError(error.errno, error.strerror, PLACE + path) from None


def open_file(path: str, flag: int) -> Call:
    """Return the call that opens a file of procfs, given as ``/proc/self/...`` or, for the parent, ``/proc/{pid}/...``.

    ``self`` is a link that the kernel itself makes, so links are followed; magic ones, and mounts, are not.
    """
    if not path.startswith(PLACE):
        raise PlanError(f"not a file of procfs: {path!r}")
    resolve = RESOLVE.BENEATH | RESOLVE.NO_XDEV | RESOLVE.NO_MAGICLINKS
    return syscalls.openat2(PROC, path.removeprefix(PLACE), flag, resolve)


def effective_capabilities() -> int:
    """Return the calling thread's effective capabilities, as a bit mask.  :see: capabilities(7), capget(2)"""
    return ask(_effective_capabilities)


def _effective_capabilities() -> int:
    data = bytearray(24)
    try:
        native.call("capget", struct.pack("II", _CAPABILITY_VERSION, 0), data)
    except (OSError, Unavailable):
        status = read("/proc/thread-self/status") or b""
        return int(status.partition(b"\nCapEff:")[2].split(None, 1)[0], 16)
    low, high = struct.unpack_from("I8xI", data)
    return int(high << 32 | low)
