"""A group as a part: the steps by which a child is in it before anything of the program runs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..base.frozen import frozen
from ..core.step import Phase, Step
from ..errors import CgroupError
from ..linux import kernel, syscalls
from ..linux.syscalls import CLONE, Call, Fd
from .hierarchy import Hierarchy

if TYPE_CHECKING:
    from .cgroup import Cgroup

BEFORE_ALL = -10
DELEGATE = "moving a process wants write access to the cgroup that holds both the old and the new place: begin inside a delegated one"
HINTS = {
    1: DELEGATE,
    13: DELEGATE,
    16: "the group passes controllers on to its children (no-internal-process rule): use a leaf",
    19: "the group was removed meanwhile",
    28: "the group's cpuset has no CPUs or no memory nodes",
}


def refused(error: OSError, doing: str) -> CgroupError:
    """What the kernel's refusal to open or to make something of a group means."""
    hint = DELEGATE if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS) else ""
    return CgroupError(error.errno, f"{doing}: {error.strerror}" + (f"; {hint}" if hint else ""), error.filename)


@frozen
class ProcsFile:
    """The cgroup.procs of a group in one hierarchy, opened by us.

    The kernel asks who opened it, so a child may write to it whatever user namespace it is in by then.
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
    """Into v2 with the clone itself; into every other hierarchy before all else."""
    rest, known = list(hierarchies), frozenset(hierarchies)
    if rest[0].version == 2 and kernel.has("clone3"):
        call = syscalls.clone3(CLONE.INTO_CGROUP, Fd("cgroup", GroupDirectory(group, rest.pop(0), known)))
        yield Step.parent(Phase.CLONE, call, why=f"the cgroup {group.name}", claims="cgroup")
    for hierarchy in rest:
        yield from _enter(ProcsFile(group, hierarchy, known), claims="cgroup" if hierarchy is hierarchies[0] else "")
    yield _begin_namespace()


def _enter(door: ProcsFile, claims: str) -> Iterator[Step]:
    label = min(door.hierarchy.controllers, default="v2") if door.hierarchy.version == 1 else "v2"
    fd, why = Fd(f"cgroup.{label}", door), f"join {door.group.name} in the hierarchy of {label}"
    yield Step.child(Phase.IDENTITY, syscalls.write(fd, b"0"), why=why, at_least=1, hint=HINTS, order=BEFORE_ALL, claims=claims)
    yield Step.child(Phase.IDENTITY, syscalls.close(fd), why="and let it go", order=BEFORE_ALL)


def _begin_namespace() -> Step:
    """A cgroup namespace made with the clone begins where the parent is, also with CLONE_INTO_CGROUP."""
    call = Call("unshare", (CLONE.NEWCGROUP,))
    why = "the cgroup namespace begins at this group"
    return Step.child(Phase.IDENTITY, call, why=why, only_with="new cgroup namespace", order=BEFORE_ALL + 1)
