"""leaks: find the kernel objects that a piece of code left behind.

    with leaks() as found:
        plan.run()
    found.check()           # LeakError, with a list, if an object remains

Two snapshots of the machine are compared, before and after; a new object is a leak.  Other processes come and go meanwhile, so a
process counts only when it can be traced to this one:

- it descends from this process, or
- it is an orphan (its parent is init or an ancestor of this process, to which the kernel gives orphans), it is
  new, and it is either in a namespace that did not exist before or still in this process's session.

A new cgroup in which only foreign processes run does not count.  Mounts, links and nftables tables have no owner: all new ones in
this process's namespaces count, so two `leaks` at once must not share a mount or network namespace.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from types import TracebackType

from ..base.frozen import field, frozen, record
from ..errors import ContainerKitError
from .snapshot import (
    Listing,
    Processes,
    Stat,
    cgroups,
    inhabitants,
    mountinfo,
    mounts,
    namespaces,
    nftables_tables,
    open_fds,
    state_directories,
    unescaped,
)

__all__ = ["Found", "Leak", "LeakError", "leaks"]

GRACE = 2.0  # seconds for the kernel to finish its work in the background


class LeakError(ContainerKitError, AssertionError):
    """A kernel object remains that did not exist before."""


@frozen(slots=False)
class Leak:
    """One object left behind: its kind ("mount", "cgroup", "process", ...) and its description."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@record(slots=False)
class _Snapshot:
    """The objects at one moment, by kind."""

    processes: Processes
    listings: dict[str, Listing]
    held: dict[str, str]  # namespace -> its holder: this process, a descendant, or a descriptor or mount of this process
    not_looked_at: dict[str, str] = field(default_factory=dict)

    @classmethod
    def now(cls) -> _Snapshot:
        import socket

        processes, table, fds = Processes.now(), mountinfo(), open_fds()
        links: Listing = {(index, name): name for index, name in socket.if_nameindex()}
        listings: dict[str, Listing] = {"mount": mounts(table), "cgroup": cgroups(table), "link": links}
        listings |= {"fd": fds, "state directory": state_directories()}
        snapshot = cls(processes, listings, _held(processes, table, fds))
        try:
            listings["nftables table"] = nftables_tables()
        except OSError as error:
            snapshot.not_looked_at["nftables table"] = str(error)
        return snapshot

    def since(self, before: _Snapshot) -> list[Leak]:
        """List the objects that are in this snapshot and not in `before`."""
        ours, held = self._attributed(before)
        found = [Leak("process", str(stat)) for stat in ours.values() if stat.key not in before.processes.keys]
        found += [Leak("namespace", f"{name} held by {held[name]}") for name in sorted(held.keys() - before.held.keys())]
        mine = {*ours, self.processes.me}
        for kind, listing in self.listings.items():
            # a kind that could not be listed before cannot be compared: not_looked_at reports it
            new = listing.keys() - before.listings.get(kind, listing).keys()
            found += [Leak(kind, listing[key]) for key in listing if key in new and not self._foreign(kind, listing[key], mine)]
        return found

    def _foreign(self, kind: str, what: str, mine: set[int]) -> bool:
        if kind != "cgroup":
            return False
        inside = inhabitants(what, self.listings["cgroup"])
        return bool(inside) and not inside & mine

    def _attributed(self, before: _Snapshot) -> tuple[dict[int, Stat], dict[str, str]]:
        """Return the processes that descend from this one, and the namespaces that this process or they hold."""
        now, held = self.processes, dict(self.held)
        ours = now.below(now.me)
        orphans = now.orphans(before.processes.keys)
        old = self._seen_elsewhere(before) if orphans else set()
        outside = {stat.pid for stat in now.ancestors() if stat.session != now.all[now.me].session} | {1}
        for stat in orphans:
            fresh = namespaces(f"/proc/{stat.pid}") - before.held.keys() - old
            same_session = stat.session == now.all[now.me].session and stat.parent in outside
            if fresh or same_session:
                family = {stat.pid: stat, **now.below(stat.pid)}
                ours |= family
                for member in family.values():
                    held |= dict.fromkeys(namespaces(f"/proc/{member.pid}") - old, f"process {member}")
        return ours, held

    def _seen_elsewhere(self, before: _Snapshot) -> set[str]:
        """Return the namespaces of processes that existed before: a foreign orphan may have joined one."""
        old = [stat.pid for stat in self.processes.all.values() if stat.key in before.processes.keys]
        return {name for pid in old for name in namespaces(f"/proc/{pid}")}


def _held(processes: Processes, table: list[list[str]], fds: Listing) -> dict[str, str]:
    """Return the namespaces held by threads of this process, its descendants, its fds, and mounts it sees."""
    held = {unescaped(fields[3]): f"the mount {unescaped(fields[4])}" for fields in table if fields[fields.index("-") + 1] == "nsfs"}
    for text in fds.values():
        number, _, target = text.partition(" -> ")
        if re.fullmatch(r"[a-z]+:\[\d+\]", target) and not target.startswith(("pipe:", "socket:")):
            held[target] = f"fd {number}"
    for stat in processes.below(processes.me).values():
        held |= dict.fromkeys(namespaces(f"/proc/{stat.pid}"), f"process {stat}")
    for thread in os.listdir("/proc/self/task"):
        held |= dict.fromkeys(namespaces(f"/proc/self/task/{thread}"), f"thread {thread} of this process")
    return held


class Found:
    """The leaks of a `with` block, readable once the block has ended.  True if there are any.

    :ivar not_looked_at: kinds that this machine did not let us list, with the reason
    """

    def __init__(self) -> None:
        self._leaks: tuple[Leak, ...] | None = None
        self.not_looked_at: Mapping[str, str] = {}

    def _all(self) -> tuple[Leak, ...]:
        if self._leaks is None:
            raise ContainerKitError("leaks() has not ended: read the result after the with block")
        return self._leaks

    def __bool__(self) -> bool:
        return bool(self._all())

    def __iter__(self) -> Iterator[Leak]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __str__(self) -> str:
        lines = [str(leak) for leak in self._all()] or ["nothing was left behind"]
        return "\n".join(lines + [f"(not looked at: {kind}: {why})" for kind, why in self.not_looked_at.items()])

    def check(self) -> None:
        """Raise an error if an object was left behind.

        :raises LeakError: its text is the list of objects
        """
        if self:
            raise LeakError(f"{len(self)} left behind\n{self}")


class leaks:
    """Compare the kernel's objects before and after a block of code.

    The kinds are mounts, cgroups, namespaces, network links, nftables tables, processes (zombies too), file descriptors and the state
    directories of containerkit.  The kernel gets up to two seconds to tear objects down in the background; the wait ends as soon as
    nothing new remains.

    :returns: a `Found`, readable once the block has ended
    :see: proc(5), cgroups(7), namespaces(7)
    """

    def __init__(self, *, grace: float = GRACE) -> None:
        """Set the wait.  :param grace: seconds to wait for objects that the kernel tears down"""
        self._grace, self._found = grace, Found()

    def __enter__(self) -> Found:
        self._before = _Snapshot.now()
        return self._found

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        deadline, pause = time.monotonic() + self._grace, 0.002
        now = _Snapshot.now()
        while (new := now.since(self._before)) and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 0.1)
            now = _Snapshot.now()
        self._found._leaks = tuple(new)
        self._found.not_looked_at = self._before.not_looked_at | now.not_looked_at
