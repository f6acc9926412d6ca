"""Spawning from Python against a C program that makes the same calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from containerkit import LayerFS, Plan

from . import plans
from .floor import floor
from .ground import Ground
from .measure import Budget, in_turn, timed
from .table import Table, Target

FLOOR, ONCE, EACH = "C floor", "containerkit, plan made once", "containerkit, plan made each time"
HIDDEN = "containerkit, executed from the helper"
LIMIT = 1.25
CONTAINER = "user, mnt, pid, uts, ipc, cgroup; overlay, /proc, /dev, pivot_root"
NOTE = "The floor is a static C program made from the plan: the same clone flags, the same calls and arguments in the same order."
SAME = (
    "Both map one id, and execute the program from the caller's own image (hide_executable=False), for the floor "
    "has no helper; the last row has the helper. The floor inherits a descriptor of /proc and one of the device nodes; a spawn "
    "opens /proc each time."
)


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Return one table for each plan: without isolation, a container, a container with a network namespace."""
    return [
        _table(ground, budget, "plain", "no isolation", lambda _: plans.bare(ground)),
        _table(ground, budget, "container", CONTAINER, lambda root: plans.full(root, net=False, hide=False), LIMIT),
        _table(ground, budget, "container-net", f"{CONTAINER}; and net", lambda root: plans.full(root, hide=False), LIMIT),
    ]


def _table(ground: Ground, budget: Budget, name: str, title: str, make: Callable[[LayerFS], Plan], limit: float = 0.0) -> Table:
    with ExitStack() as stack:
        roots = [stack.enter_context(overlay(ground)) for _ in range(4)]
        once = make(roots[1])
        contenders = {
            FLOOR: stack.enter_context(floor(ground, make(roots[0]), name)),
            ONCE: timed(lambda: plans.run(once)),
            EACH: timed(lambda: plans.run(make(roots[2]))),
        }
        if limit:
            hidden = plans.full(roots[3], net=name.endswith("net"), hide=True)
            contenders[HIDDEN] = timed(lambda: plans.run(hidden))
        rows = in_turn(contenders, budget)
    table = Table(f"spawning-{name}", f"Spawn and wait: {title}", rows, base=FLOOR, notes=[NOTE])
    if limit:
        table.notes.append(SAME)
        table.targets.append(Target(f"{ONCE}, to the floor", table.ratio(ONCE), limit))
    return table


@contextmanager
def overlay(ground: Ground) -> Iterator[LayerFS]:
    """Yield the root as the lower of two layers.  Each contender has its own upper: two live mounts must not share one."""
    empty = ground.directory / "empty"
    empty.mkdir(exist_ok=True)
    with LayerFS(ground.root, empty, scratch=ground.directory) as root:
        yield root
