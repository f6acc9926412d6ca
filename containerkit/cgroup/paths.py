"""Where a group's directories are: names, hierarchies, homes, and how a directory goes."""

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

LONGEST = 200  # bytes; the kernel takes 255, and the owner's mark needs some
RESERVED = {"tasks", "notify_on_release", "release_agent"}
CONTROLLERS = frozenset("cgroup cpu cpuacct cpuset memory io blkio pids hugetlb rdma misc devices freezer irq dmem debug".split())

owner = Ownership()


def checked_name(name: str) -> str:
    """A name that stays one directory.  :raises PlanError: one that escapes, or that the kernel uses for a file"""
    if not isinstance(name, str) or not name or len(os.fsencode(name)) > LONGEST:
        raise PlanError(f"a cgroup's name has 1 to {LONGEST} bytes: {name!r}")
    if "/" in name or name.startswith(".") or not name.isprintable():
        raise PlanError(f"a cgroup's name is one file name, printable, and does not begin with a dot: {name!r}")
    if name in RESERVED or (name.partition(".")[0] in CONTROLLERS and "." in name):
        raise PlanError(f"the kernel has a file of that name, or may have: {name!r}")
    return name


_worlds: dict[Hierarchy, CgroupDriver] = {}


def world_of(hierarchy: Hierarchy) -> CgroupDriver:
    """The hierarchy in the words of its version.  The same object for every thread: it holds the filters of devices."""
    return _worlds.get(hierarchy) or _worlds.setdefault(hierarchy, V2(hierarchy) if hierarchy.version == 2 else V1(hierarchy))


def checked_parent(parent: Any, kind: type[Cgroup]) -> Cgroup | str | None:
    """:raises PlanError: no group, and no path that stays below the top of the hierarchy"""
    if parent is not None and not isinstance(parent, kind | str):
        raise PlanError(f"a cgroup's parent is another Cgroup, or a path from the top of the hierarchy, not {parent!r}")
    if isinstance(parent, str) and (".." in parent.split("/") or "\0" in parent):
        raise PlanError(f"a parent's path does not go up: {parent!r}")
    return parent


def checked_controllers(names: Any) -> frozenset[str]:
    """:raises PlanError: not a list of controllers' names"""
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
    """The one that kills and freezes: v2 where we may, or the v1 freezer, or any.  :raises Unavailable: there is none for this user"""
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
    """The same, to print a plan with, also for who may not make groups.  :raises Unavailable: no hierarchy at all"""
    try:
        return main_hierarchy(user)
    except Unavailable:
        found = system()
        if not found.hierarchies:
            raise
        return found.v2 or found.hierarchies[0]


def group_directory(hierarchy: Hierarchy, parent: Cgroup | str | None, name: str) -> str:
    """The directory of a group in a hierarchy.  One that has no other group above it carries its owner's mark."""
    if isinstance(parent, str):
        return os.path.join(hierarchy.mount, parent.strip("/"), f"{owner.mark}{name}").replace("//", "/")
    if parent is not None:
        return f"{parent.place_in(hierarchy)}/{name}"
    return f"{_home(hierarchy, os.geteuid())}/{owner.mark}{name}"


def forget() -> None:
    """Looks at everything again: for who was moved, or changed the mounts, or forked."""
    system.cache_clear()
    _home.cache_clear()
    main_hierarchy.cache_clear()


def hierarchy_of(path: str) -> Hierarchy | None:
    """The hierarchy that a directory lies in."""
    found = [h for h in system().hierarchies if path.startswith(f"{h.mount.rstrip('/')}/")]
    return max(found, key=lambda h: len(h.mount), default=None)


def remove_tree(path: str, patience: float = 2.0) -> None:
    """Removes a group and those below it.  One that has just become empty may still be busy for a moment.

    :raises CgroupError: it is in use
    """
    try:
        cgroupfs.remove(path, patience)
    except OSError as error:
        raise CgroupError(error.errno, f"cannot remove the group: {error.strerror}", error.filename) from None


os.register_at_fork(after_in_child=owner.forked)
os.register_at_fork(after_in_child=forget)
