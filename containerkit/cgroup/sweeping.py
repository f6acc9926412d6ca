"""Remove groups of crashed owners, list live ones, make room for new ones."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from functools import cache

from ..base.log import Log
from ..errors import CgroupError
from ..linux import cgroupfs
from ..linux.cgroupfs import processes
from ..state import journal, sweeping
from .driver import put
from .hierarchy import Hierarchy, system
from .paths import forget, hierarchy_of
from .version_0_1 import abandoned

LOG = Log(__name__)

__all__ = ["found", "make_room", "sweep", "sweep_once"]


def sweep() -> list[str]:
    """Kill and remove the groups of processes that ended without removing them.  Return the directories."""
    swept = sweeping.sweep(("groups",))
    for path in abandoned():
        try:
            cgroupfs.end(path)
            swept.append(path)
        except OSError as error:
            LOG.debug("%s was left by a process that ended: skipped, %s", path, error)
    return swept


@cache
def sweep_once() -> None:
    """Sweep once, before this process makes its first group.  A group that cannot be swept stays for an explicit `sweep`."""
    journal.sweep_once()
    with contextlib.suppress(OSError):
        sweep()


os.register_at_fork(after_in_child=sweep_once.cache_clear)  # a forked child is a process of its own


def _living() -> Iterator[str]:
    for line in journal.living():
        if line.verb == "groups":
            yield from journal.marked(*line.words)


def found() -> dict[str, dict[Hierarchy, str]]:
    """Return the groups of all living owners of this user: name -> directories, the one that can kill first."""
    groups: dict[str, dict[Hierarchy, str]] = {}
    for path in sorted(_living()):
        if hierarchy := hierarchy_of(path):
            groups.setdefault(os.path.basename(path), {})[hierarchy] = path
    return {mark: dict(sorted(paths.items(), key=lambda item: _rank(item[0]))) for mark, paths in groups.items()}


def _rank(hierarchy: Hierarchy) -> tuple[bool, bool]:
    return hierarchy.version != 2, "freezer" not in hierarchy.controllers


def make_room(leaf: str = "leaf") -> str:
    """Move every process of our own v2 cgroup, this process among them, into a leaf below it, so that the cgroup can pass controllers on.

    For a process in a delegated cgroup, as ``systemd-run --user --scope -p Delegate=yes`` gives one.
    :return: the leaf's directory
    :raises CgroupError: the kernel does not let one of the processes be moved
    """
    v2 = system().v2
    if v2 is None:
        raise CgroupError(errno.ENOENT, "there is no v2 hierarchy, so the no-internal-process rule does not apply")
    own = v2.here
    path = f"{own}/{leaf}"
    os.makedirs(path, exist_ok=True)
    while inside := processes(own, recursive=False):
        for pid in inside:
            try:
                put(path, "cgroup.procs", str(pid))
            except CgroupError as error:
                if error.errno != errno.ESRCH:  # the process has ended
                    raise
    forget()
    return path
