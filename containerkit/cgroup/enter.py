"""A group as a plan's part: the steps that put a child into the group before it runs any of the program."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

from ..base.frozen import frozen
from ..core.step import Phase, Step
from ..errors import CgroupError
from ..linux import kernel, syscalls
from ..linux.syscalls import CLONE, Call, Fd
from .hierarchy import Hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cgroup import Cgroup

BEFORE_ALL = -10
DELEGATE = "moving a process needs write access to the cgroup above both its old and its new group: begin inside a delegated one"
HINTS = {
    errno.EPERM: DELEGATE,
    errno.EACCES: DELEGATE,
    errno.EBUSY: "the group passes controllers on to its children (no-internal-process rule): use a leaf",
    errno.ENODEV: "the group was removed meanwhile",
    errno.ENOSPC: "the group's cpuset has no CPUs or no memory nodes",
}


def refused(error: OSError, doing: str) -> CgroupError:
    """Return the error for the kernel's refusal to open or to make a file of a group."""
    hint = DELEGATE if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS) else ""
    return CgroupError(error.errno, f"{doing}: {error.strerror}" + (f"; {hint}" if hint else ""), error.filename)


@frozen
class ProcsFile:
    """The cgroup.procs file of a group in one hierarchy, opened by us.

    The kernel checks the rights of the process that opened the file, so a child may write to it from within any user namespace.
    """

    group: Cgroup
    hierarchy: Hierarchy
    known: frozenset[Hierarchy]

    def fileno(self) -> int:
        return self.group.opened(self.hierarchy, "cgroup.procs", os.O_WRONLY, self.known)


@frozen
class GroupDirectory:
    """The directory of a group in the v2 hierarchy."""

    group: Cgroup
    hierarchy: Hierarchy
    known: frozenset[Hierarchy]

    def fileno(self) -> int:
        return self.group.opened(self.hierarchy, "", os.O_RDONLY | os.O_DIRECTORY, self.known)


def steps(group: Cgroup, hierarchies: Sequence[Hierarchy]) -> Iterator[Step]:
    """Join v2 in clone3, v1 hierarchies in the child's first steps."""
    rest, known = list(hierarchies), frozenset(hierarchies)
    if rest[0].version == 2 and kernel.has("clone3"):
        call = syscalls.clone3(CLONE.INTO_CGROUP, Fd("cgroup", GroupDirectory(group, rest.pop(0), known)))
        yield Step.parent(Phase.CLONE, call, why=f"the cgroup {group.name}", claims="cgroup")
    for hierarchy in rest:
        yield from _enter(ProcsFile(group, hierarchy, known), claims="cgroup" if hierarchy is hierarchies[0] else "")
    yield _begin_namespace()


def _enter(procs: ProcsFile, claims: str) -> Iterator[Step]:
    label = min(procs.hierarchy.controllers, default="v2") if procs.hierarchy.version == 1 else "v2"
    fd, why = Fd(f"cgroup.{label}", procs), f"join {procs.group.name} in the hierarchy of {label}"
    yield Step.child(Phase.IDENTITY, syscalls.write(fd, b"0"), why=why, at_least=1, hint=HINTS, order=BEFORE_ALL, claims=claims)
    yield Step.child(Phase.IDENTITY, syscalls.close(fd), why="close the group's file", order=BEFORE_ALL)


def _begin_namespace() -> Step:
    """Make the cgroup namespace after joining: one made by clone3 begins at the parent's group, even with CLONE_INTO_CGROUP."""
    call = Call("unshare", (CLONE.NEWCGROUP,))
    why = "the cgroup namespace begins at this group"
    return Step.child(Phase.IDENTITY, call, why=why, only_with="new cgroup namespace", order=BEFORE_ALL + 1)
