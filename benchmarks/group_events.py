"""The delay from the hit of a limit to the Python code that waits for the event."""

from __future__ import annotations

import asyncio
import mmap
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import containerkit as ck
from containerkit import Cgroup, Plan
from containerkit.cgroup import Events, system
from containerkit.cgroup.events import Source
from containerkit.errors import CgroupError, Unavailable

from .ground import HERE, Ground
from .measure import Budget, Contender, in_turn
from .table import Table

MEMORY, QUIET = "8M", 0.02  # seconds; the kernel reports one file at most every 10 ms
END = "OOM kill: the end of the process, by pidfd"
NOTES = (
    "From the clock that the program reads just before the touch that is too much, to the clock that Python reads with the event in hand. "
    "What the kernel does in between, reclaim and the kill itself, is part of it: the first row waits for nothing but the end.",
    "v1 says by eventfd that memory ran out, before it kills, and tells of no kill: oom_kill is looked for after that, at growing pauses.",
    "hugetlb stands for every limit of v2: its event takes the same way as that of memory.max (the kernel's cgroup_file_notify, inotify).",
)


class Hit:
    """A program that runs into a limit of a group, and the time stamp that it writes."""

    def __init__(self, ground: Ground, group: Cgroup, how: str) -> None:
        file, program = ground.directory / "stamp", ground.program("hit", HERE / "csrc/hit.c")
        with open(file, "w+b") as opened:
            opened.truncate(mmap.PAGESIZE)
            self._stamp = mmap.mmap(opened.fileno(), mmap.PAGESIZE)
        self._stamp[0:8] = bytes(8)  # touched here, so that the page is charged to us and not to the group
        self._plan: Plan = ck.plan(group, run=[str(program), str(file), how])

    def _since(self) -> float:
        now = time.perf_counter_ns()
        return (now - int.from_bytes(self._stamp[0:8], "little")) / 1000

    def until(self, events: Events) -> float:
        """Return the delay until the iterator yields the event, after dropping events of the run before."""
        time.sleep(QUIET)
        events.poll(0)
        with self._plan.spawn() as process:
            next(iter(events))
            found = self._since()
            process.wait()
        return found

    def until_end(self) -> float:
        time.sleep(QUIET)
        with self._plan.spawn() as process:
            process.wait()
            return self._since()

    async def until_async(self, events: Events) -> float:
        await asyncio.sleep(QUIET)
        events.poll(0)
        told = asyncio.ensure_future(anext(aiter(events)))
        await asyncio.sleep(0)
        with self._plan.spawn() as process:
            await told
            found = self._since()
            process.wait()
        return found


def table(ground: Ground, budget: Budget) -> Table:
    """Measure the events that this machine's mode reports; the others are named in a note."""
    notes, runs = [*NOTES, f"This machine's mode is {system().mode}."], dict[str, Contender]()
    with ExitStack() as stack:
        for name, add in (("memory", _memory), ("max", _max), ("hugetlb", _huge)):
            try:
                runs |= add(ground, stack)
            except (Unavailable, CgroupError) as error:
                notes.append(f"{name} is left out: {error}.".replace("\n", "; "))
        rows = in_turn(runs, replace(budget, turn=1, warm_up=min(2, budget.warm_up)))
    return Table("cgroup-events", "From the limit to the event in Python", rows, base=next(iter(rows)), notes=notes)


def _memory(ground: Ground, stack: ExitStack) -> dict[str, Contender]:
    group = stack.enter_context(Cgroup("oom", memory_max=MEMORY))
    hit, oom, kill = Hit(ground, group, "memory"), stack.enter_context(group.events("oom")), stack.enter_context(group.events("oom_kill"))
    return {
        END: _each(hit.until_end),
        "oom: the iterator": _each(lambda: hit.until(oom)),
        "oom_kill: the iterator": _each(lambda: hit.until(kill)),
        "oom_kill: the async iterator": _each(lambda: asyncio.run(hit.until_async(kill))),
    }


def _max(ground: Ground, stack: ExitStack) -> dict[str, Contender]:
    group = stack.enter_context(Cgroup("max", memory_max=MEMORY))
    hit, events = Hit(ground, group, "memory"), stack.enter_context(group.events("max"))
    return {"memory.max: the iterator": _each(lambda: hit.until(events))}


def _huge(ground: Ground, stack: ExitStack) -> dict[str, Contender]:
    group = stack.enter_context(Cgroup("huge", hugetlb={"2MB": 0}))
    if not (system().v2 and group.path == group.directory_in(system().controlled_by("hugetlb"))):
        raise Unavailable("hugetlb of v2", probed=group.path, remedy="a kernel with CONFIG_CGROUP_HUGETLB")
    source = Source(f"{group.path}/hugetlb.2MB.events")
    hit, events = Hit(ground, group, "huge"), stack.enter_context(Events(group.path, [source], frozenset({"max"})))
    return {
        "hugetlb max: the iterator": _each(lambda: hit.until(events)),
        "hugetlb max: the async iterator": _each(lambda: asyncio.run(hit.until_async(events))),
    }


def _each(once: Callable[[], float]) -> Contender:
    return lambda runs: [once() for _ in range(runs)]
