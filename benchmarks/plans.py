"""The plans that are measured, and one way to run them."""

from __future__ import annotations

import os

import containerkit as ck
from containerkit import Part, Plan, mounts, ns

from .ground import Ground

PROGRAM = "/bin/true"


def one_id() -> ns.User:
    """The caller's own id as root inside, which the child maps itself: the C program has no second actor to wait for."""
    return ns.User(uids=[(0, os.geteuid(), 1)], gids=[(0, os.getegid(), 1)])


def kinds(*, net: bool = True) -> dict[str, Part]:
    """One part for each kind of namespace, by its name in /proc/PID/ns."""
    made: dict[str, Part] = {
        "user": one_id(),
        "mnt": ns.Mount(),
        "pid": ns.Pid(),
        "uts": ns.Uts("lesson"),
        "ipc": ns.Ipc(),
        "cgroup": ns.Cgroup(),
    }
    return made | ({"net": ns.Net()} if net else {})


def full(root: Part, *parts: Part, net: bool = True, hide: bool | None = None) -> Plan:
    """A whole container: every namespace but time, a root that is pivoted to, /proc and a minimal /dev."""
    return ck.plan(*kinds(net=net).values(), root, mounts.Dev(), *parts, run=[PROGRAM], hide_executable=hide)


def bound(ground: Ground, *parts: Part, net: bool = True) -> Plan:
    """The same on a directory as it is, without an overlay."""
    return full(mounts.Root(ground.root), *parts, net=net)


def bare(ground: Ground, *parts: Part) -> Plan:
    """Some parts, and the tiny program of the host's."""
    return ck.plan(*parts, run=[ground.payload])


def run(plan: Plan) -> None:
    """Spawn, wait, close, as a script would.  Raises RuntimeError when the program did not end well."""
    with plan.spawn() as process:
        if process.wait():
            raise RuntimeError(f"the program ended with {process.returncode}")
