"""What v1 and v2 have in common: the protocol both follow, and how a file of a cgroup is written and its refusals explained."""

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
"""A file's name and what is written to it."""

#: What the kernel takes or refuses by the value of another file of the same group.
MEASURED = frozenset(
    """
cpu.cfs_period_us cpu.cfs_quota_us cpu.cfs_burst_us cpu.shares cpu.idle cpu.max cpu.max.burst cpu.weight
memory.limit_in_bytes memory.memsw.limit_in_bytes
""".split()
)
HINTS = {
    1: "the kernel does not let this user: the group is not delegated to it",
    13: "the kernel does not let this user: the group is not delegated to it",
    16: "the group, or one below it, is in use: v2 lets a group hold processes or pass controllers on to its children, not both",
    19: "no such disk: io limits want a whole disk, not a partition",
    22: "not a value the kernel takes here: it may be measured against another limit, against the group above, or against those below",
    28: "the group has no CPUs or no memory nodes yet",
    34: "out of the range the kernel takes",
    95: "the group is threaded, or one of its neighbours is: domain controllers do not work there",
}


_OF_FILE = {
    (1, "devices"): "the group above does not have this device itself",
    (13, "cpuset"): "the group above does not have all of them itself",
    (16, "cpuset"): "a group below has some that would be missing",
    (22, "devices"): "v1 does not change the devices of a group that has groups below it",
}


class CgroupDriver(Protocol):
    """One hierarchy, in the words of its version.  Every path is a cgroup's directory.

    :ivar hierarchy: which one
    :ivar tasks: the file that lists threads
    """

    hierarchy: Hierarchy
    tasks: str

    def writes(self, limits: Mapping[str, Any]) -> list[Write]:
        """What to write for canonical limits, in order.  :raises Unavailable: this version cannot say it"""
        ...

    def prepare(self, parent: str, controllers: Iterable[str]) -> None:
        """Makes `controllers` work in the children of `parent`."""
        ...

    def made(self, path: str) -> None:
        """What a new group needs before anything can be in it."""
        ...

    def apply(self, path: str, limits: Mapping[str, Any], writes: list[Write]) -> None:
        """Writes limits.  `writes` is what `writes()` has said of them."""
        ...

    def read(self, path: str, name: str) -> str:
        """The text of a file, by its v2 name; on v1 put together from what is there."""
        ...

    def freeze(self, path: str, frozen: bool, timeout: float | None) -> None:
        """Stops or continues everything in the tree, and waits until that is so."""
        ...

    def kill(self, path: str, *, last: bool = False) -> None:
        """Sends SIGKILL to everything in the tree, with nobody able to fork away from it.  It is thawed then.

        :param last: nobody will be put into it any more
        """
        ...

    def wait_empty(self, path: str, timeout: float | None) -> bool:
        """Waits until no process is left in the tree; False when the time is up."""
        ...

    def forget(self, path: str) -> None:
        """Lets go of what is held for a group."""
        ...


class Deadline:
    """A point in time, or never.

    :ivar left: seconds until then, None for ever
    """

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    @property
    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def milliseconds(self) -> float | None:
        """For poll(2), never 0 before the time is up."""
        left = self.left
        return None if left is None else left * 1000

    @property
    def over(self) -> bool:
        return self.left == 0.0


def put(path: str, name: str, text: str) -> None:
    """Writes one file of a group.  :raises Unavailable: there is no such file  :raises CgroupError: the kernel refuses"""
    try:
        fd = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise refusal(error, path, name, text) from None


def put_all(path: str, writes: Iterable[Write]) -> None:
    """Writes files in order.  The kernel measures some against each other, as period and quota, or quota and burst: what it
    refuses for that is tried again after the others.

    :raises Unavailable, CgroupError: as `put` does; the first that stays refused
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
    """What a failed write means."""
    if error.errno == 2 and os.path.isdir(path):
        remedy = "a newer kernel, one built with it, or a disk scheduler that knows it (bfq, or blk-iocost, for weights)"
        return Unavailable(f"the limit file {name}", probed=f"{path}/{name}", remedy=remedy)
    hint = _OF_FILE.get((error.errno or 0, name.partition(".")[0]), HINTS.get(error.errno or 0, ""))
    return CgroupError(error.errno, f"cannot write {text!r}: {error.strerror}" + (f"; {hint}" if hint else ""), f"{path}/{name}")


def await_ends(pids: Iterable[int], deadline: Deadline) -> bool:
    """Waits for the end of each; whether there was one to wait for.  :see: pidfd_open(2)"""
    waited = False
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except (OSError, ValueError):  # ended and reaped, or not to be seen from here
            continue
        try:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            waited = True
            poller.poll(deadline.milliseconds)
        finally:
            os.close(fd)
    return waited
