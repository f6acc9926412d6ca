"""CgroupDriver, the protocol that v1 and v2 both follow; and how to write a cgroup's file and explain the kernel's refusal."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..base.log import Log
from ..errors import CgroupError, Unavailable
from ..linux.cgroupfs import end_all, processes, tree
from .hierarchy import Hierarchy

__all__ = ["CgroupDriver", "Deadline", "Write", "await_ends", "end_all", "processes", "put", "put_all", "refusal", "tree"]

LOG = Log(__name__)
Write = tuple[str, str]
"""A file's name, and the text to write to it."""

#: Files whose new value the kernel checks against the value of another file of the same group.
MEASURED = frozenset(
    """
cpu.cfs_period_us cpu.cfs_quota_us cpu.cfs_burst_us cpu.shares cpu.idle cpu.max cpu.max.burst cpu.weight
memory.limit_in_bytes memory.memsw.limit_in_bytes
""".split()
)
HINTS = {
    errno.EPERM: "the kernel does not let this user: the group is not delegated to it",
    errno.EACCES: "the kernel does not let this user: the group is not delegated to it",
    errno.EBUSY: "the group, or one below it, is in use: v2 lets a group hold processes or pass controllers on to its children, not both",
    errno.ENODEV: "no such disk: io limits want a whole disk, not a partition",
    errno.EINVAL: "not a value the kernel takes here: another limit, the group above or a group below may contradict it",
    errno.ENOSPC: "the group has no CPUs or no memory nodes yet",
    errno.ERANGE: "out of the range the kernel takes",
    errno.EOPNOTSUPP: "the group is threaded, or one of its neighbours is: domain controllers do not work there",
}


_OF_FILE = {
    (errno.EPERM, "devices"): "the group above does not have this device itself",
    (errno.EACCES, "cpuset"): "the group above does not have all of these CPUs or nodes itself",
    (errno.EBUSY, "cpuset"): "a group below uses CPUs or nodes that this value leaves out",
    (errno.EINVAL, "devices"): "v1 does not change the devices of a group that has groups below it",
}


class CgroupDriver(Protocol):
    """Controls the groups of one hierarchy, in the files of its version.  Every `path` is the directory of a cgroup.

    :ivar hierarchy: the hierarchy
    :ivar tasks: the name of the file that lists threads
    """

    hierarchy: Hierarchy
    tasks: str

    def writes(self, limits: Mapping[str, Any]) -> list[Write]:
        """Return the files to write for canonical limits, in order.  :raises Unavailable: this version has no such limit"""
        ...

    def prepare(self, parent: str, controllers: Iterable[str]) -> None:
        """Enable `controllers` for the children of `parent`."""
        ...

    def made(self, path: str) -> None:
        """Write the settings that a new group needs before a process can be in it."""
        ...

    def apply(self, path: str, limits: Mapping[str, Any], writes: list[Write]) -> None:
        """Write limits.  :param writes: the result of `writes()` for the same limits"""
        ...

    def read(self, path: str, name: str) -> str:
        """Return the text of a file, by its v2 name.  A v1 driver composes the text from v1's files."""
        ...

    def freeze(self, path: str, frozen: bool, timeout: float | None) -> None:
        """Stop or continue every process in the tree, and wait until all have done so."""
        ...

    def kill(self, path: str, *, last: bool = False) -> None:
        """Send SIGKILL to every process in the tree, so that none can fork away from it.  The tree is thawed afterwards.

        :param last: no process will be put into the group any more
        """
        ...

    def wait_empty(self, path: str, timeout: float | None) -> bool:
        """Wait until no process is left in the tree.  Return False when the time is up."""
        ...

    def forget(self, path: str) -> None:
        """Close the descriptors that the driver keeps for a group."""
        ...


class Deadline:
    """A point in time, or never.

    :ivar left: seconds until that time; None for never
    """

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    @property
    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def milliseconds(self) -> float | None:
        """Milliseconds left, for poll(2): never 0 before the time is up."""
        left = self.left
        return None if left is None else left * 1000

    @property
    def over(self) -> bool:
        return self.left == 0.0


def put(path: str, name: str, text: str) -> None:
    """Write one file of a group.  :raises Unavailable: there is no such file  :raises CgroupError: the kernel refuses"""
    try:
        fd = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise refusal(error, path, name, text) from None


def put_all(path: str, writes: Iterable[Write]) -> None:
    """Write files in order, and try refused writes again after the rest: the kernel checks some values against others, as quota and
    period.

    :raises Unavailable, CgroupError: as `put` does; the first write that stays refused
    """
    waiting = list(writes)
    while waiting:
        refused = [(write, error) for write in waiting if (error := _refused(path, *write))]
        if len(refused) == len(waiting):
            raise refused[0][1]
        waiting = [write for write, _ in refused]
        for (name, text), _ in refused:
            LOG.debug("%s/%s: %s is tried again after the others", path, name, text)


def _refused(path: str, name: str, text: str) -> CgroupError | None:
    try:
        put(path, name, text)
    except CgroupError as error:
        if error.errno != errno.EINVAL or name not in MEASURED:
            raise
        return error
    return None


def refusal(error: OSError, path: str, name: str, text: str) -> CgroupError | Unavailable:
    """Return the error that explains a failed write."""
    if error.errno == errno.ENOENT and os.path.isdir(path):
        remedy = "a newer kernel, one built with it, or a disk scheduler that knows it (bfq, or blk-iocost, for weights)"
        return Unavailable(f"the limit file {name}", probed=f"{path}/{name}", remedy=remedy)
    hint = _OF_FILE.get((error.errno or 0, name.partition(".")[0]), HINTS.get(error.errno or 0, ""))
    return CgroupError(error.errno, f"cannot write {text!r}: {error.strerror}" + (f"; {hint}" if hint else ""), f"{path}/{name}")


def await_ends(pids: Iterable[int], deadline: Deadline) -> bool:
    """Wait until each process has ended.  Return whether there was one to wait for.  :see: pidfd_open(2)"""
    waited = False
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except (OSError, ValueError):  # reaped already, or not visible from here
            continue
        try:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            waited = True
            poller.poll(deadline.milliseconds)
        finally:
            os.close(fd)
    return waited
