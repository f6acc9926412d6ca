"""The directories of a group: checked names, the hierarchy and the directory for each group, and their removal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import CgroupError, PlanError, Unavailable
from ..linux import cgroupfs
from .driver import CgroupDriver
from .hierarchy import Hierarchy, system
from .ownership import Ownership
from .v1 import V1
from .v2 import V2

if TYPE_CHECKING:
    from .cgroup import Cgroup

LONGEST = 200  # bytes; the kernel takes 255, and the owner's mark needs some of them
RESERVED = {"tasks", "notify_on_release", "release_agent"}
CONTROLLERS = frozenset("cgroup cpu cpuacct cpuset memory io blkio pids hugetlb rdma misc devices freezer irq dmem debug".split())

owner = Ownership()


def checked_name(name: str) -> str:
    """Return a name that is one directory.  :raises PlanError: a name that leaves the directory, or that the kernel uses for a file"""
    if not isinstance(name, str) or not name or len(os.fsencode(name)) > LONGEST:
        raise PlanError(f"a cgroup's name has 1 to {LONGEST} bytes: {name!r}")
    if "/" in name or name.startswith(".") or not name.isprintable():
        raise PlanError(f"a cgroup's name is one file name, printable, and does not begin with a dot: {name!r}")
    if name in RESERVED or (name.partition(".")[0] in CONTROLLERS and "." in name):
        raise PlanError(f"the kernel has a file of that name, or may have: {name!r}")
    return name


_drivers: dict[Hierarchy, CgroupDriver] = {}


def driver_of(hierarchy: Hierarchy) -> CgroupDriver:
    """Return the driver of a hierarchy.  All threads get the same object, as it holds the filters of devices."""
    return _drivers.get(hierarchy) or _drivers.setdefault(hierarchy, V2(hierarchy) if hierarchy.version == 2 else V1(hierarchy))


def checked_parent(parent: Any, kind: type[Cgroup]) -> Cgroup | str | None:
    """Check a parent.  :raises PlanError: neither a group nor a path that stays below the top of the hierarchy"""
    if parent is not None and not isinstance(parent, kind | str):
        raise PlanError(f"a cgroup's parent is another Cgroup, or a path from the top of the hierarchy, not {parent!r}")
    if isinstance(parent, str) and (".." in parent.split("/") or "\0" in parent):
        raise PlanError(f"a parent's path does not go up: {parent!r}")
    return parent


def checked_controllers(names: Any) -> frozenset[str]:
    """Return the names of controllers.  :raises PlanError: not a list of names"""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise PlanError(f'controllers is a list of names, as ["cpu", "memory"], not {names!r}')
    found = list(names)
    if wrong := next((name for name in found if not isinstance(name, str) or not name.isidentifier()), None):
        raise PlanError(f"no controller is called {wrong!r}")
    return frozenset(found)


@cache
def _home(hierarchy: Hierarchy, user: int) -> str:
    return hierarchy.home()


@cache
def main_hierarchy(user: int) -> Hierarchy:
    """Return the hierarchy that kills and freezes: v2, else the v1 freezer, else any.  :raises Unavailable: this user may use none"""
    found = system()
    freezer = [h for h in found.hierarchies if "freezer" in h.controllers]
    refused = Unavailable("cgroups", probed=f"/proc/self/mountinfo: {found.mode}", remedy="mount -t cgroup2 none /sys/fs/cgroup")
    for hierarchy in dict.fromkeys([*filter(None, [found.v2]), *freezer, *found.hierarchies]):
        try:
            _home(hierarchy, user)
        except Unavailable as error:
            refused = error
        else:
            return hierarchy
    raise refused


def likely_main(user: int) -> Hierarchy:
    """Return `main_hierarchy`, or a likely one where this user may make no groups, to print a plan.  :raises Unavailable: no hierarchy"""
    try:
        return main_hierarchy(user)
    except Unavailable:
        found = system()
        if not found.hierarchies:
            raise
        return found.v2 or found.hierarchies[0]


def group_directory(hierarchy: Hierarchy, parent: Cgroup | str | None, name: str) -> str:
    """Return the directory of a group in a hierarchy.  A directory that is not below another group carries its owner's mark."""
    if isinstance(parent, str):
        return os.path.join(hierarchy.mount, parent.strip("/"), f"{owner.mark}{name}").replace("//", "/")
    if parent is not None:
        return f"{parent.directory_in(hierarchy)}/{name}"
    return f"{_home(hierarchy, os.geteuid())}/{owner.mark}{name}"


def forget() -> None:
    """Forget the hierarchies that were read.  Call it after a move to another cgroup, a change of mounts, or a fork."""
    system.cache_clear()
    _home.cache_clear()
    main_hierarchy.cache_clear()


def hierarchy_of(path: str) -> Hierarchy | None:
    """Return the hierarchy that a directory lies in, or None."""
    found = [h for h in system().hierarchies if path.startswith(f"{h.mount.rstrip('/')}/")]
    return max(found, key=lambda h: len(h.mount), default=None)


def remove_tree(path: str, patience: float = 2.0) -> None:
    """Remove a group and those below it.  A group that has just become empty may still be busy: try for `patience` seconds.

    :raises CgroupError: the group is in use
    """
    try:
        cgroupfs.remove(path, patience)
    except OSError as error:
        raise CgroupError(error.errno, f"cannot remove the group: {error.strerror}", error.filename) from None


os.register_at_fork(after_in_child=owner.forked)
os.register_at_fork(after_in_child=forget)
