"""The cost that a group adds to a spawn, for us and for crun.  Pairs: one run without, one with a group, in random order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count

from containerkit import Cgroup, Plan
from containerkit.cgroup import system

from . import peers, plans
from .ground import Ground
from .measure import Budget, Sample, in_turn, timed
from .table import Table, Target

LIMITS = {"memory": {"limit": 64 << 20}, "pids": {"limit": 32}, "cpu": {"quota": 50_000, "period": 100_000}}
WITHOUT, INSIDE, ALL, MADE = "no group", "in a group of v2 alone", "in a group with limits", "in a group made for each run"
TARGET = 0.15  # milliseconds
OURS = ("containerkit", "containerkit, in a group made for each run")
CRUN = ("crun without cgroups", "crun with cgroups")
_names = count()


def tables(ground: Ground, budget: Budget) -> list[Table]:
    """Measure a plain process with and without a group; a container by us and by crun, with and without."""
    return [_plain(ground, budget), _containers(ground, budget)]


def limited(name: str) -> Cgroup:
    return Cgroup(name, memory_max="64M", pids_max=32, cpu_max=0.5)


def made_each_time(plan: Callable[[Cgroup], Plan]) -> Callable[[], object]:
    """Return a run that makes a group with limits, runs a plan that was compiled before, and removes the group."""
    group = limited("each")
    compiled = plan(group)

    def run() -> None:
        with group:
            plans.run(compiled)

    return run


def pairs(rows: dict[str, Sample], without: str, having: str) -> Sample:
    """Return the difference of the second and the first, run by run of the same round."""
    return Sample(tuple(b - a for a, b in zip(rows[without].values, rows[having].values, strict=True)))


def _plain(ground: Ground, budget: Budget) -> Table:
    with ExitStack() as stack:
        alone, group = stack.enter_context(Cgroup("alone")), stack.enter_context(limited("limits"))
        made = {WITHOUT: plans.bare(ground), INSIDE: plans.bare(ground, alone), ALL: plans.bare(ground, group)}
        runs: dict[str, Callable[[], object]] = {name: lambda plan=plan: plans.run(plan) for name, plan in made.items()}  # type: ignore[misc]
        runs[MADE] = made_each_time(lambda g: plans.bare(ground, g))
        rows = in_turn({name: timed(run) for name, run in runs.items()}, _paired(budget))
        version, places = system().mode, len(group.paths)
    rows |= {f"added: {name}": pairs(rows, WITHOUT, name) for name in (INSIDE, ALL, MADE)}
    notes = [
        f"This machine's mode is {version}: a group of v2 alone has no limits and is entered with the clone; "
        f"one with limits is in {places} hierarchies, and every one of v1 is entered by a write of the child's own.",
        "Added: the difference to the run without a group in the same round.",
    ]
    table = Table("cgroup-spawn", "What a group adds to a spawn", rows, base=WITHOUT, notes=notes)
    if system().v2:
        table.targets.append(Target(f"milliseconds added by v2 alone (mode {version})", rows[f"added: {INSIDE}"].median / 1000, TARGET))
    return table


def _paired(budget: Budget) -> Budget:
    """Return a budget of one run a turn, so that the two runs of a pair are next to each other, and many turns."""
    return replace(budget, rounds=budget.rounds * budget.turn, turn=1)


def _containers(ground: Ground, budget: Budget) -> Table:
    notes = [
        "The container is that of the peers; the group has memory, pids and cpu limits.",
        "Added: the difference to the run without in the same round. Ours makes and removes the groups that its limits need, "
        "crun one in every v1 hierarchy; where a hybrid tree has its v2 half deeper for it, also a plain directory in memory.",
    ]
    plan = plans.bound(ground)
    runs: dict[str, Callable[[], object]] = {OURS[0]: lambda: plans.run(plan)}
    runs[OURS[1]] = made_each_time(lambda g: plans.bound(ground, g))
    with _crun(ground) as crun:
        if reason := _refused(crun):
            notes.append(f"crun is left out: {reason}.")
        else:
            runs |= crun
        rows = in_turn({name: timed(run) for name, run in runs.items()}, _paired(budget))
        if left := _left():
            notes.append(f"crun left the groups of {left} of its runs behind; they were removed afterwards.")
    rows |= {f"added: {having}": pairs(rows, without, having) for without, having in (OURS, CRUN) if having in rows}
    return Table("cgroup-crun", "A container in a group of its own", rows, base=next(iter(runs)), notes=notes)


def _refused(crun: dict[str, Callable[[], object]]) -> str:
    if not crun:
        return "it is not installed"
    for name, run in crun.items():
        try:
            run()
        except RuntimeError:
            return f"{name} does not run on this machine ({system().mode})"
    return ""


@contextmanager
def _crun(ground: Ground) -> Iterator[dict[str, Callable[[], object]]]:
    """Yield crun's two runs.  The groups that crun leaves are removed afterwards."""
    program = shutil.which("crun")
    if program is None:
        yield {}
        return
    without = peers.oci(ground, program, "--cgroup-manager=disabled")
    having = peers.oci(ground, program, "--cgroup-manager=cgroupfs", resources=LIMITS)
    try:
        yield dict(zip(CRUN, (without, having), strict=True))
    finally:
        _left()


def _left() -> int:
    """Remove the groups that our runs of crun left.  Return the number of those runs."""
    found: dict[str, str] = {}
    for hierarchy in system().hierarchies:
        with suppress(OSError), os.scandir(hierarchy.mount) as entries:
            found |= {entry.path: entry.name for entry in entries if entry.name.startswith(peers.NAME)}
    for path in found:
        os.rmdir(path)
    return len(set(found.values()))
