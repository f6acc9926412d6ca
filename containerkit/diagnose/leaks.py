"""What a piece of code left behind in the kernel.

    with leaks() as found:
        plan.run()
    found.check()           # LeakError, with a list, when something is still there

The machine is looked at before and after; what is new is a leak.  Other processes come and go meanwhile, so a
process counts only when it can be traced to this one:

- it descends from this process, or
- it is an orphan (its parent is init or an ancestor of this process, which is where the kernel hands orphans), it is
  new, and it is either in a namespace that did not exist before or still in this process's session.

A new cgroup in which only processes of others run is theirs.  Mounts, links and nftables tables carry no owner: all
new ones in this process's namespaces count, so two of these at once must not share a mount or network namespace.
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

GRACE = 2.0  # seconds that the kernel gets to finish what it does in the background


class LeakError(ContainerKitError, AssertionError):
    """Something is still there that was not there before."""


@frozen(slots=False)
class Leak:
    """One thing left behind: its kind ("mount", "cgroup", "process", ...) and what it is."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@record(slots=False)
class _Snapshot:
    """What there is at one moment, by kind."""

    processes: Processes
    listings: dict[str, Listing]
    held: dict[str, str]  # namespace: who holds it, as far as that is this process or one below it
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
        """What is here and was not in `before`."""
        ours, held = self._attributed(before)
        found = [Leak("process", str(stat)) for stat in ours.values() if stat.key not in before.processes.keys]
        found += [Leak("namespace", f"{name} held by {held[name]}") for name in sorted(held.keys() - before.held.keys())]
        mine = {*ours, self.processes.me}
        for kind, look in self.listings.items():
            # what could not be looked at before cannot be compared: not_looked_at says so
            new = look.keys() - before.listings.get(kind, look).keys()
            found += [Leak(kind, look[key]) for key in look if key in new and not self._foreign(kind, look[key], mine)]
        return found

    def _foreign(self, kind: str, what: str, mine: set[int]) -> bool:
        if kind != "cgroup":
            return False
        inside = inhabitants(what, self.listings["cgroup"])
        return bool(inside) and not inside & mine

    def _attributed(self, before: _Snapshot) -> tuple[dict[int, Stat], dict[str, str]]:
        """The processes that are this one's doing, and the namespaces held by it or by them."""
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
        """The namespaces of processes that were there before: an orphan of others may have joined one."""
        old = [stat.pid for stat in self.processes.all.values() if stat.key in before.processes.keys]
        return {name for pid in old for name in namespaces(f"/proc/{pid}")}


def _held(processes: Processes, table: list[list[str]], fds: Listing) -> dict[str, str]:
    """The namespaces held by threads of this process, its descendants, its fds, and mounts it sees."""
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
    """What was left behind, once the `with` block has ended.  True when there is something.

    :ivar not_looked_at: kinds that this machine did not let us see, with the reason
    """

    def __init__(self) -> None:
        self._leaks: tuple[Leak, ...] | None = None
        self.not_looked_at: Mapping[str, str] = {}

    def _all(self) -> tuple[Leak, ...]:
        if self._leaks is None:
            raise ContainerKitError("leaks() has not ended: look after the with block")
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
        """Do nothing when nothing was left behind.

        :raises LeakError: something was; its text is the list
        """
        if self:
            raise LeakError(f"{len(self)} left behind\n{self}")


class leaks:
    """Compare the kernel's state before and after a block of code.

    Looks at mounts, cgroups, namespaces, network links, nftables tables, processes (zombies too), file descriptors and
    the state directories of containerkit.  What the kernel tears down in the background gets up to two seconds, waited for
    only while something is still there.

    :returns: a `Found`, readable once the block has ended
    :see: proc(5), cgroups(7), namespaces(7)
    """

    def __init__(self, *, grace: float = GRACE) -> None:
        """:param grace: seconds to wait for what is being torn down"""
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
