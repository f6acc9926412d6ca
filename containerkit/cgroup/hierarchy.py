"""The mounted cgroup hierarchies: their controllers, our own group in each, and the directory where we may make groups.

All of it is read from /proc/self/mountinfo and /proc/self/cgroup.  Neither the mount points nor the mode are assumed, nor that
our own group is the top one.
:see: cgroups(7), proc(5)
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal

from ..base.frozen import frozen
from ..errors import Unavailable
from ..linux.cgroupfs import read_file

__all__ = ["Hierarchy", "System", "system"]

SCOPE = "systemd-run --user --scope -p Delegate=yes COMMAND, or ask root for a cgroup that belongs to this user"
OTHER_NAMES = {"blkio": "io"}  # v1 name -> the name in `GroupLimits`


@frozen(eq=False)
class Hierarchy:
    """One mounted hierarchy.  Two searches that find the same hierarchy return the same object.

    :ivar version: 1 or 2
    :ivar controllers: its controllers, by their v2 names; ``name=systemd`` for a hierarchy without controllers
    :ivar mount: the mount point
    :ivar root: the cgroup that the mount shows at its top, as our cgroup namespace names it
    :ivar own: the cgroup that this process is in
    """

    version: Literal[1, 2]
    controllers: frozenset[str]
    mount: str
    root: str
    own: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _interned, (self.version, self.controllers, self.mount, self.root, self.own)

    @property
    def here(self) -> str:
        """The directory of our own cgroup.  :raises Unavailable: the mount does not show it"""
        inside = os.path.relpath(self.own, self.root) if ".." not in self.root and ".." not in self.own else ".."
        if inside.startswith(".."):
            probed = f"/proc/self/cgroup says {self.own}, the mount shows {self.root}"
            raise Unavailable(
                f"our own cgroup below {self.mount}", probed=probed, remedy="mount the hierarchy inside this cgroup namespace"
            )
        return os.path.normpath(os.path.join(self.mount, inside))

    def home(self) -> str:
        """Return the directory in which this process makes its groups.

        That is the nearest cgroup that was delegated to us; else, for root, the top; else the highest one above us that we may write.
        :raises Unavailable: there is none
        """
        above = list(self._above())
        delegated = next((path for path in above if _is_delegated(path)), None)
        if delegated:
            return delegated
        if os.geteuid() == 0 and os.access(self.mount, os.W_OK):
            return self.mount
        ours = [path for path in above if _may_fill(path)]
        if not ours:
            where = above[0] if above else self.mount
            raise Unavailable("a cgroup in which this user may make groups", probed=f"{where} is not ours to write", remedy=SCOPE)
        return ours[-1]

    def _above(self) -> Iterator[str]:
        """Yield the directory of our own cgroup, then of each one above, up to the top of the mount."""
        try:
            path = self.here
        except Unavailable:
            return
        while True:
            yield path
            if path == self.mount:
                return
            path = os.path.dirname(path)


def _is_delegated(path: str) -> bool:
    """Whether systemd has marked the cgroup as delegated, by an extended attribute."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return _may_fill(path)
    return False


def _may_fill(path: str) -> bool:
    return os.access(path, os.W_OK) and os.access(f"{path}/cgroup.procs", os.W_OK)


@frozen
class System:
    """All hierarchies that this process can see."""

    hierarchies: tuple[Hierarchy, ...]

    @property
    def mode(self) -> Literal["v2", "hybrid", "v1", "none"]:
        """The mode: pure v2, both versions, pure v1, or nothing mounted."""
        versions = {h.version for h in self.hierarchies}
        return {frozenset({2}): "v2", frozenset({1}): "v1", frozenset(): "none"}.get(frozenset(versions), "hybrid")  # type: ignore[return-value]

    @property
    def v2(self) -> Hierarchy | None:
        """The v2 hierarchy, or None."""
        return next((h for h in self.hierarchies if h.version == 2), None)

    def controlled_by(self, controller: str) -> Hierarchy:
        """Return the hierarchy of a controller.  v2 filters devices without a controller.  :raises Unavailable: no hierarchy has it"""
        for hierarchy in self.hierarchies:
            if controller in hierarchy.controllers:
                return hierarchy
        if controller in ("devices", "freezer", "cpuacct") and self.v2:
            return self.v2
        raise Unavailable(f"the cgroup controller {controller}", probed=f"cgroup mounts ({self.mode})", remedy=_remedy(controller))


def _remedy(controller: str) -> str:
    with contextlib.suppress(OSError):
        if re.search(rf"^{controller}\s+\d+\s+\d+\s+0$", read_file("/proc/cgroups"), re.MULTILINE):
            return f"boot without cgroup_disable={controller}"
    return "mount its hierarchy, or a kernel that has it"


@cache
def system() -> System:
    """Return the hierarchies of this machine, read once.  A process that changes its own mounts calls `forget` afterwards."""
    return find(read_file("/proc/self/mountinfo"), read_file("/proc/self/cgroup"))


def find(mountinfo: str, own: str) -> System:
    """Parse the two files.  Of several mounts of one hierarchy, return the one that shows most."""
    own_paths = dict(_own_paths(own.splitlines()))
    found: dict[frozenset[str], Hierarchy] = {}
    for hierarchy in _mounts(mountinfo.splitlines(), own_paths):
        known = found.setdefault(hierarchy.controllers if hierarchy.version == 1 else frozenset(), hierarchy)
        if len(hierarchy.root) < len(known.root):
            found[hierarchy.controllers if hierarchy.version == 1 else frozenset()] = hierarchy
    return System(tuple(found.values()))


def _own_paths(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs: a controller, or "" for v2, and the path of our cgroup there."""
    for line in lines:
        _, names, path = line.split(":", 2)
        yield from ((name, path) for name in names.split(","))


def _mounts(lines: Iterable[str], own_paths: dict[str, str]) -> Iterator[Hierarchy]:
    for line in lines:
        fields, _, tail = line.partition(" - ")
        kind, _, options = (*tail.split(" ", 2), "", "")[:3]
        if kind not in ("cgroup", "cgroup2"):
            continue
        root, mount = (_unescaped(field) for field in fields.split(" ")[3:5])
        if kind == "cgroup2":
            with contextlib.suppress(OSError):
                controllers = frozenset(read_file(f"{mount}/cgroup.controllers").split())
                yield _interned(2, controllers, mount, root, own_paths.get("", "/"))
            continue
        names = [name for name in options.split(",") if name in own_paths]
        if names:
            yield _interned(1, frozenset(OTHER_NAMES.get(n, n) for n in names), mount, root, own_paths[names[0]])


_known: dict[tuple[Any, ...], Hierarchy] = {}


def _interned(*values: Any) -> Hierarchy:
    """Return the one object for these values, also for concurrent threads: setdefault is atomic, functools.cache is not."""
    return _known.get(values) or _known.setdefault(values, Hierarchy(*values))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
