"""The cost of a user namespace with a range of ids of its own, against the caller's own id."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack

import containerkit as ck
from containerkit import LayerFS, Part, Plan, mounts, ns

from . import plans
from .ground import Ground
from .measure import Budget, in_turn, timed
from .spawning import overlay
from .table import Table, Target

OWN, SAME, NEAR = "a range of its own", "the caller's own id, executed from the helper", "the caller's own id"
LIMIT = 1.1
NOTES = [
    "The plan of a sandbox, made once: all namespaces but time, capabilities, filter; a tiny program.  Spawned and waited for.",
    "With ids of its own the child waits for its map, and the parent translates the mounts of the root.  With the caller's own id it is "
    "executed from the helper wherever the caller could write its own executable, as root can on most machines.",
]


def benchmark(ground: Ground, budget: Budget) -> list[Table]:
    """Return one table for a read-only root, and one for a root that takes changes.

    :raises ck.Unavailable: the caller is not root of the machine
    """
    if os.geteuid() != 0 or ns.User().outside() == (0, 0):
        raise ck.Unavailable("a range of ids of its own", remedy="run as root of the machine")
    return [
        _table(ground, budget, "read-only", lambda _: LayerFS(ground.root, readonly=True)),
        _table(ground, budget, "writable", lambda stack: stack.enter_context(overlay(ground))),
    ]


def _table(ground: Ground, budget: Budget, name: str, root: Callable[[ExitStack], LayerFS]) -> Table:
    users = {SAME: (plans.one_id(), True), NEAR: (plans.one_id(), False), OWN: (ns.User(), None)}
    with ExitStack() as stack:
        made = {label: _sandbox(user, root(stack), hide) for label, (user, hide) in users.items()}
        rows = in_turn({label: timed(lambda plan=plan: plans.run(plan)) for label, plan in made.items()}, budget)  # type: ignore[misc]
    table = Table(f"identity-{name}", f"Spawn and wait: a sandbox of root's, its root {name}", rows, base=SAME, notes=NOTES)
    table.targets.append(Target(f"{OWN}, to {SAME}", table.ratio(OWN), LIMIT))
    return table


def _sandbox(user: ns.User, root: Part, hide: bool | None) -> Plan:
    """Return the parts of `ck.sandbox`, with another user."""
    alone: list[Part] = [user, ns.Mount(), ns.Pid(), ns.Ipc(), ns.Uts("sandbox"), ns.Cgroup(), ns.Net()]
    seen: list[Part] = [root, mounts.Dev(), mounts.Tmpfs("/tmp", size="64M"), mounts.Masked(), mounts.ReadOnly()]
    return ck.plan(
        *alone, *seen, ck.Capabilities.none(), ck.NoNewPrivileges(), ck.Seccomp.default(), run=[plans.PROGRAM], hide_executable=hide
    )
