"""Cgroup: a group of processes with limits.  A plan's part, a context manager that owns the group's directories, and a live object.

with Cgroup("lesson", memory_max="64M", pids_max=32, cpu_max=0.5) as group:
    result = ck.run(["python3", "task.py"], group)      # result.stopped_by: "oom", "pids", ...
    print(group.read("memory.peak"), group.stat().cpu)
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Unpack

from ..core.step import Step
from ..errors import CgroupError, PlanError, Unavailable
from . import enter, stats, sweeping
from .driver import Deadline, Write, await_ends, processes
from .events import Events
from .hierarchy import Hierarchy, system
from .limits import WORDS, GroupLimits, parse
from .live import Live
from .ownership import PREFIX
from .paths import (
    checked_controllers,
    checked_name,
    checked_parent,
    driver_of,
    group_directory,
    likely_main,
    main_hierarchy,
    owner,
    remove_tree,
)
from .watch import Counts, Watch, standing_in

__all__ = ["Cgroup"]

UNNAMED = "group"
TRIES = 1000  # numbers to try behind a name: one that is taken was given by another process, or before a fork
_numbers = itertools.count(1)
PATIENCE = 10.0  # seconds for the kernel to end killed processes, or to freeze


class Cgroup(Live):
    """A group in every hierarchy that its limits need, and in one hierarchy that can kill and freeze.

    Any number of threads may use one Cgroup: a lock puts `make`, `set`, `close` and the runs in the group in order where they must be.

    :param name: a file name.  A second group of the same name in this process is a CgroupError; a group without a name gets a free number
    :param parent: another group, or the path of a cgroup from the top of the hierarchy; by default the cgroup in which this process may
        make groups
    :param controllers: controllers that shall count for the group even without a limit: "cpu", "memory", "pids", "io", ...
    :param limits: see `GroupLimits`
    :raises PlanError: a name or a value that cannot be.  The directories are made later, by make() or by entering the context
    """

    def __init__(
        self, name: str | None = None, *, parent: Cgroup | str | None = None, controllers: Iterable[str] = (), **limits: Unpack[GroupLimits]
    ) -> None:  # fmt: skip
        self.name, self.parent = UNNAMED if name is None else checked_name(name), checked_parent(parent, Cgroup)
        self.limits: dict[str, Any] = parse(limits)
        self._controllers, self._numbered = checked_controllers(controllers), name is None
        self._begin()

    def _begin(self) -> None:
        """Set the state of a group whose directories are not made."""
        self._directory, self._lock = self.name, threading.RLock()
        self._paths: Mapping[Hierarchy, str] = {}  # replaced, never changed in place: other threads may be reading the mapping
        self._fds: dict[tuple[Hierarchy, str], int] = {}
        self._owned, self._entered, self._maker = False, False, os.getpid()

    def another(self) -> Cgroup:
        """Return a group of the same limits, not made yet.  Its directory gets a number behind the name, so that both can exist."""
        group = Cgroup.__new__(Cgroup)
        group.name, group.parent, group.limits = self.name, self.parent, dict(self.limits)
        group._controllers, group._numbered = self._controllers, True
        group._begin()
        return group

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Let a group that is not made be copied, and be sent to another process."""
        if self._paths:
            raise TypeError(f"the cgroup {self.name} is made, and belongs to this process: send its path, or its limits before it is made")
        return _made_again, (self.name, self.parent, dict(self.limits), self._controllers, self._numbered)

    # --- making --------------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether the group's directories are made."""
        return bool(self._paths)

    @property
    def path(self) -> str:
        """The group's directory in the hierarchy that can kill and freeze.  :raises PlanError: not made yet"""
        return next(iter(self._made().values()))

    @property
    def paths(self) -> tuple[str, ...]:
        """All directories of the group.  :raises PlanError: not made yet"""
        return tuple(self._made().values())

    def _made(self) -> Mapping[Hierarchy, str]:
        paths = self._paths
        if not paths:
            raise PlanError(f"the cgroup {self.name} does not exist yet: enter it first (with Cgroup(...) as group:)")
        return paths

    def make(self) -> Cgroup:
        """Make the group's directories and write its limits.  On an error everything that was made is removed again.

        :raises Unavailable: this machine, or its cgroup mode, cannot do one of the limits
        :raises CgroupError: the kernel refuses
        """
        with self._lock:
            if not self._paths:
                limits = self._by_hierarchy(self.limits)
                writes = {hierarchy: driver_of(hierarchy).writes(mine) for hierarchy, mine in limits.items()}
                self._make_somewhere(limits, writes)
        return self

    def _make_somewhere(self, limits: dict[Hierarchy, dict[str, Any]], writes: dict[Hierarchy, list[Write]]) -> None:
        """Make the group under its name, or, for a group without a name or one of several alike, under the first number that is free."""
        for _ in range(TRIES):
            self._directory = f"{self.name}-{next(_numbers)}" if self._numbered else self.name
            try:
                return self._make_there(limits, writes)
            except CgroupError as error:
                if error.errno != errno.EEXIST or not self._numbered:
                    raise
        raise CgroupError(errno.EEXIST, f"no number is free behind the name {self.name}")

    def _make_there(self, limits: dict[Hierarchy, dict[str, Any]], writes: dict[Hierarchy, list[Write]]) -> None:
        self._own()
        try:
            planned = self._planned()
            self._note(planned.values())
            for hierarchy, path in planned.items():
                self._make_in(hierarchy, path, limits.get(hierarchy, {}), writes.get(hierarchy, []))
        except BaseException:
            self.close()
            raise

    def _own(self) -> None:
        """Take the owner's mark, unless the group is below another one, which has it already."""
        if not isinstance(self.parent, Cgroup):
            sweeping.sweep_once()
            owner.acquire()
            self._owned = True

    def _note(self, paths: Iterable[str]) -> None:
        if self._owned:
            owner.record_homes({path.rpartition("/")[0] for path in paths})

    def _make_in(self, hierarchy: Hierarchy, path: str, limits: dict[str, Any], writes: list[Write]) -> None:
        driver = driver_of(hierarchy)
        driver.prepare(path.rpartition("/")[0], self._controllers_in(hierarchy, limits))
        try:
            os.mkdir(path)
        except OSError as error:
            if error.errno == errno.EEXIST:
                raise CgroupError(errno.EEXIST, "this group exists already; Cgroup() without a name gets a free number", path) from None
            raise enter.refused(error, "cannot make the group") from None
        self._paths = {**self._paths, hierarchy: path}
        driver.made(path)
        if limits:
            driver.apply(path, limits, writes)

    def _planned(self) -> dict[Hierarchy, str]:
        """Return the directory that the group will have in each hierarchy.  Nothing is made."""
        hierarchies = self._hierarchies(main_hierarchy(os.geteuid()))
        return {hierarchy: group_directory(hierarchy, self.parent, self._directory) for hierarchy in hierarchies}

    def _hierarchies(self, main: Hierarchy) -> Iterable[Hierarchy]:
        found = system()
        wanted = [main, *(found.controlled_by(c) for c in sorted(self._wanted()))]
        if "cpu" in self._controllers and main.version == 1:
            wanted.append(found.controlled_by("cpuacct"))  # v1 counts CPU time in a controller of its own
        if isinstance(self.parent, Cgroup):
            wanted = [*self.parent._made(), *wanted]
        return dict.fromkeys(wanted)

    def _wanted(self) -> frozenset[str]:
        return self._controllers | {WORDS[name].controller for name in self.limits}

    def _controllers_in(self, hierarchy: Hierarchy, limits: dict[str, Any]) -> set[str]:
        """Return the controllers that v2 has to enable for the group: those of the limits, and those asked for by name that live there."""
        return {WORDS[name].controller for name in limits} | (self._controllers & hierarchy.controllers)

    def _by_hierarchy(self, limits: dict[str, Any]) -> dict[Hierarchy, dict[str, Any]]:
        found, sorted_out = system(), dict[Hierarchy, dict[str, Any]]()
        for name, value in limits.items():
            sorted_out.setdefault(found.controlled_by(WORDS[name].controller), {})[name] = value
        return sorted_out

    def set(self, **limits: Unpack[GroupLimits]) -> None:
        """Change limits of a living group.  :raises PlanError, Unavailable, CgroupError: as make() does"""
        new = parse(limits)
        with self._lock:
            self._set(new)

    def _set(self, new: dict[str, Any]) -> None:
        made = self._made()
        if "memory_max" in new and "memory_swap_max" in self.limits:
            new.setdefault("memory_swap_max", self.limits["memory_swap_max"])  # v1 keeps only the sum of both
        todo = self._by_hierarchy(new)
        writes = {hierarchy: driver_of(hierarchy).writes(mine) for hierarchy, mine in todo.items()}
        for hierarchy, mine in todo.items():
            if hierarchy in made:
                driver_of(hierarchy).prepare(os.path.dirname(made[hierarchy]), self._controllers_in(hierarchy, mine))
                driver_of(hierarchy).apply(made[hierarchy], mine, writes[hierarchy])
            else:
                self._extend(hierarchy, mine, writes[hierarchy])
        both = self.limits | new
        self.limits = {name: both[name] for name in WORDS if name in both}

    def directory_in(self, hierarchy: Hierarchy) -> str:
        """Return the group's directory in a hierarchy.  If there is none, make the directory and move the group's processes into it."""
        with self._lock:
            return self._made().get(hierarchy) or self._extend(hierarchy, {}, [])

    def _extend(self, hierarchy: Hierarchy, limits: dict[str, Any], writes: list[Write]) -> str:
        path = group_directory(hierarchy, self.parent, self._directory)
        self._note([path])
        self._make_in(hierarchy, path, limits, writes)
        for pid in self.procs():
            self._move_in(path, pid)
        return path

    # --- as a part -----------------------------------------------------------------------------------------------

    def steps(self) -> Iterable[Step]:
        """Give the steps by which a child begins inside the group.

        Before the group is made, the steps are those of a user who may make it.
        """
        return enter.steps(self, list(self._paths or self._hierarchies(likely_main(os.geteuid()))))

    def opened(self, hierarchy: Hierarchy, name: str, how: int, known: frozenset[Hierarchy]) -> int:
        """Return a descriptor of one of the group's files, or of its directory.  The descriptor stays open until the group is closed.

        :param known: the hierarchies that the plan enters
        :raises PlanError: the group is not made yet, or its limits have reached another hierarchy since the plan was made
        :raises CgroupError: this process may not put a child into the group, or the group is gone
        """
        group = standing_in(self)
        with group._lock:
            return group._opened(hierarchy, name, how, known)

    def _opened(self, hierarchy: Hierarchy, name: str, how: int, known: frozenset[Hierarchy]) -> int:
        if not self._made().keys() <= known:
            raise PlanError(f"the cgroup {self.name} has got limits in another hierarchy since this plan was made: make the plan again")
        key = (hierarchy, name)
        if key not in self._fds:
            try:
                self._fds[key] = os.open(os.path.join(self._paths[hierarchy], name), how | os.O_CLOEXEC)
            except OSError as error:
                raise enter.refused(error, "cannot enter the group") from None
        return self._fds[key]

    def watch(self) -> Watch:
        """Return a `Watch`, which a run asks afterwards whether the group stopped the program.

        For a group that is not made yet, the run gets `another` that lives as long as the watch: concurrent runs get one each.
        """
        return Watch(self)

    def counts(self) -> Counts:
        """Count how often the OOM killer came, and how often a fork was refused."""
        oom = stats.flat(self._text("memory.events") or "").get("oom_kill", 0)
        return Counts(oom, stats.flat(self._text("pids.events") or "").get("max", 0))

    # --- trees ---------------------------------------------------------------------------------------------------

    def child(self, name: str | None = None, *, controllers: Iterable[str] = (), **limits: Unpack[GroupLimits]) -> Cgroup:
        """Make a group below this one and return it; entering it is optional.  The child is removed with this group at the latest.

        :raises CgroupError: on v2, limits below a group that holds processes itself (no-internal-process rule)
        """
        return Cgroup(name, parent=self, controllers=controllers, **limits).make()

    def walk(self) -> Iterator[Cgroup]:
        """Yield this group, then all groups below it, each before its children."""
        yield self
        with os.scandir(self.path) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        for name in names:
            paths = {h: f"{p}/{name}" for h, p in self._paths.items() if os.path.isdir(f"{p}/{name}")}
            yield from Cgroup._of(name, self, paths).walk()

    @classmethod
    def groups(cls) -> Iterator[Cgroup]:
        """Yield the groups of all living owners of this user, as views: one need not own a group to look at it, or to close it."""
        for mark, paths in sweeping.found().items():
            yield cls._of(mark.removeprefix(PREFIX).partition(".")[2], None, paths)

    sweep = staticmethod(sweeping.sweep)
    make_room = staticmethod(sweeping.make_room)

    @classmethod
    def _of(cls, name: str, parent: Cgroup | str | None, paths: dict[Hierarchy, str]) -> Cgroup:
        """Return a view of a group that exists."""
        group = cls(name, parent=parent)
        group._paths = paths
        return group

    # --- life and death ------------------------------------------------------------------------------------------

    def kill(self, timeout: float | None = PATIENCE) -> None:
        """Kill every process of the group and of those below, and wait until all have ended.

        The group is thawed afterwards and can be used again.

        :raises CgroupError: the caller itself is inside, or a process does not end
        """
        self._kill(timeout, last=False)

    def _kill(self, timeout: float | None, last: bool) -> None:
        inside = {path: processes(path) for path in self.paths}
        if any(os.getpid() in found for found in inside.values()):
            raise CgroupError(errno.EBUSY, "this process is in the group itself: move it out first", self.path)
        deadline, gone = Deadline(timeout), set[int]()
        for hierarchy, path in self._made().items():
            driver, found = driver_of(hierarchy), set(inside[path]) - gone  # v1: mostly the same processes in all hierarchies
            if found:
                driver.kill(path, last=last)
                await_ends(found, deadline)  # v2 reports an empty group at most every 10 ms
            if (found or path == self.path) and not driver.wait_empty(path, deadline.left):
                raise CgroupError(errno.EBUSY, f"still not ended after {timeout} s: {processes(path)}", path)
            gone |= found - {0}  # 0 stands for a process that our pid namespace cannot see

    def remove(self, timeout: float | None = None) -> None:
        """Wait until the group is empty, then remove its directories and those below.

        :raises TimeoutError: a process is still inside after `timeout` seconds
        """
        with self._lock:
            if not self._removed_at_once() and not self.wait_empty(timeout):
                raise TimeoutError(f"{self!r} still holds {self.procs(recursive=True)} after {timeout} s")
            for path in self._paths.values():
                remove_tree(path)
            self._let_go()

    def _removed_at_once(self) -> bool:
        """Remove the directories if the group is empty: the kernel refuses one with processes or children, and trying is cheaper than
        looking.
        """
        try:
            for hierarchy, path in self._paths.items():
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(path)
                driver_of(hierarchy).forget(path)
                self._paths = {h: p for h, p in self._paths.items() if h is not hierarchy}
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise CgroupError(error.errno, f"cannot remove the group: {error.strerror}", error.filename) from None
            return False
        return True

    def _let_go(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])
        for hierarchy, path in self._paths.items():
            driver_of(hierarchy).forget(path)
        self._paths = {}
        if self._owned:
            self._owned = False
            owner.release()

    def close(self) -> None:
        """Kill the group's processes and remove the group, as leaving the context does.  In a fork of its maker, do nothing."""
        if os.getpid() != self._maker:
            return
        with self._lock:
            if not self._removed_at_once():
                self._kill(PATIENCE, last=True)
            self.remove(PATIENCE)

    def __enter__(self) -> Cgroup:
        """Make the group, unless it is made already.

        :raises CgroupError: the group was entered already: the first `with` to end would remove it under the other
        """
        with self._lock:
            if self._entered:
                raise CgroupError(errno.EBUSY, f"the cgroup {self.name} was entered already: use one Cgroup for each `with`")
            self.make()
            self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._entered = False
        self.close()

    # --- watching ------------------------------------------------------------------------------------------------

    def events(self, *names: str) -> Events:
        """Watch the group from now on: "oom", "oom_kill", "max", "high", "low", "pids", "populated", "frozen".

        :param names: the events to watch; by default all that this machine can report
        :raises Unavailable: an event that this machine's cgroup mode does not report
        """
        sources = dict(self._sources())
        if missing := set(names) - set(sources):
            told = f"events that this group can report: {', '.join(sorted(sources)) or 'none'}"
            raise Unavailable(
                f"the event {min(missing)} of {self!r}", probed=told, remedy="give the group that controller, or use cgroup v2"
            )
        wanted = frozenset(names or sources)
        return Events(self.path, list({sources[name].path: sources[name] for name in sorted(wanted)}.values()), wanted)

    def __repr__(self) -> str:
        return f"<Cgroup {self.name}" + (f" at {self.path}>" if self._paths else ", not made yet>")

    def __del__(self) -> None:
        for fd in getattr(self, "_fds", {}).values():
            with contextlib.suppress(OSError):
                os.close(fd)


def _made_again(name: str, parent: Cgroup | str | None, limits: dict[str, Any], controllers: frozenset[str], numbered: bool) -> Cgroup:
    group = Cgroup(name, parent=parent, controllers=controllers)
    group.limits, group._numbered = limits, numbered
    return group
