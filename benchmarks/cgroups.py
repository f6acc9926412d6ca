"""Control groups: the life of one against the same file operations in C, its cost to a spawn, and the delay of an event."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

from containerkit import Cgroup
from containerkit.cgroup.paths import driver_of
from containerkit.errors import ContainerKitError

from . import group_events, group_spawns
from .ground import HERE, Ground
from .measure import QUICK, Budget, Contender, Sample, in_turn
from .table import Table, Target

COUNTS = (1, 100, 1000, 5000)
PHASES = ("make with limits", "join", "kill", "remove", "limits again")
WHOLE = "a life"
FLOOR, OURS = "C floor", "containerkit"
LIMIT = 1.5
NOTES = (
    "The limits are memory_max, pids_max and cpu_max. The floor does the same mkdirs, writes and rmdirs in the same hierarchies: {}.",
    "One process joins, by its id. Kill, in both: who is inside in every hierarchy, cgroup.kill, the wait for the end by pidfd, "
    "cgroup.events. A life is make, join, kill and remove; writing the limits once more is apart.",
    "The number is that of all groups beside it in every one of its directories, itself included. "
    "With 1 the group is the only one of its process, which then also opens and locks the register of owners each time.",
    "Load: {:.1f} before, {:.1f} after.",
)


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Return a table for lives, tables for spawns, and one for events."""
    return [_lives(ground, budget), *group_spawns.tables(ground, budget), group_events.table(ground, budget)]


def _lives(ground: Ground, budget: Budget) -> Table:
    counts, before, rows = (1, 10) if budget == QUICK else COUNTS, os.getloadavg()[0], dict[str, Sample]()
    program = ground.program("groups", HERE / "csrc/groups.c")
    for count in counts:
        with beside(count - 1):
            rows |= _session(program, budget, count)
    base, lines = _row(WHOLE, FLOOR, counts[0]), {who: [(float(n), _row(WHOLE, who, n)) for n in counts] for who in (FLOOR, OURS)}
    notes = [note.format(*words) for note, words in zip(NOTES, ((_where(),), (), (), (before, os.getloadavg()[0])), strict=True)]
    table = Table("cgroups", "The life of a group", rows, base=base, notes=notes, lines=lines, axis="groups")
    for count in counts:
        ratio = {phase: table.ratio(_row(phase, OURS, count), _row(phase, FLOOR, count)) for phase in (*PHASES, WHOLE)}
        notes.append(f"To the floor, {count} groups: " + ", ".join(f"{phase} {value:.2f}" for phase, value in ratio.items()) + ".")
        table.targets.append(Target(f"{_row(WHOLE, OURS, count)}, to the floor", ratio[WHOLE], LIMIT))
    return table


def _row(phase: str, who: str, count: int) -> str:
    return f"{phase}, {who}, {count} groups"


def limited(name: str) -> Cgroup:
    """Return a group with the usual three limits, not made yet."""
    return Cgroup(name, memory_max="64M", pids_max=32, cpu_max=0.5)


def _where() -> str:
    with limited("where") as group:
        return ", ".join(sorted("+".join(sorted(h.controllers)) + f" (v{h.version})" for h in group._paths))


@contextmanager
def beside(count: int) -> Iterator[None]:
    """Make this many other groups beside the measured ones."""
    with ExitStack() as stack:
        for i in range(count):
            stack.enter_context(limited(f"beside-{i}"))
        yield


def _session(program: Path, budget: Budget, count: int) -> dict[str, Sample]:
    """Measure lives: each reports five numbers, and the sixth is their sum without the last."""
    with floor(program) as ask:
        found = in_turn({FLOOR: ask, OURS: lambda runs: [value for _ in range(runs) for value in _life(program)]}, budget)
    rows = {}
    for place, phase in enumerate((*PHASES, WHOLE)):
        for who, sample in found.items():
            rows[_row(phase, who, count)] = Sample(sample.values[place :: len(PHASES) + 1])
    return rows


def _life(program: Path) -> Sequence[float]:
    pid = os.posix_spawn(program, [str(program), "pause"], {})
    at = [time.perf_counter_ns()]

    def run(action: Callable[[], object]) -> None:
        action()
        at.append(time.perf_counter_ns())

    run((group := limited("life")).make)
    run(lambda: group.set(memory_max="64M", pids_max=32, cpu_max=0.5))
    run(lambda: group.move(pid))
    run(group.kill)
    run(group.remove)
    os.waitpid(pid, 0)
    return _told([end - begin for begin, end in pairwise(at)])


def _told(nanoseconds: Sequence[int]) -> list[float]:
    """Convert a line of the C program to microseconds, in the order of PHASES, with the sum without the limits at the end."""
    made, again, *rest = nanoseconds
    return [value / 1000 for value in (made, *rest, again, made + sum(rest))]


@contextmanager
def floor(program: Path) -> Iterator[Contender]:
    """Yield the C program as a contender, beside a group of ours that gives it paths and values.  A sweep finds its groups by name."""
    with limited("model") as group:
        words = list(_operations(group))
    pipe = subprocess.PIPE
    with subprocess.Popen([program, *words], stdin=pipe, stdout=pipe, text=True) as process:
        yield lambda runs: [value for line in _ask(process, runs) for value in _told([int(word) for word in line.split()])]
        assert process.stdin
        process.stdin.close()


def _operations(group: Cgroup) -> Iterator[str]:
    by_hierarchy = group._by_hierarchy(group.limits)
    for hierarchy, path in group._paths.items():
        yield from ("mkdir", f"{path}-floor")
        for name, text in driver_of(hierarchy).writes(by_hierarchy.get(hierarchy, {})):
            yield from ("write", f"{path}-floor/{name}", text)
        yield from ("join", f"{path}-floor/cgroup.procs")
        if os.path.exists(f"{path}/cgroup.kill"):
            yield from ("kill", f"{path}-floor/cgroup.kill", "events", f"{path}-floor/cgroup.events")


def _ask(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{count}\n")
    process.stdin.flush()
    lines = [process.stdout.readline() for _ in range(count)]
    if not all(lines):
        raise ContainerKitError("the floor ended: it has written why")
    return lines
