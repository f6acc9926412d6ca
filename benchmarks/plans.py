"""The plans that are measured, and one way to run them."""

from __future__ import annotations

import os

import containerkit as ck
from containerkit import Part, Plan, mounts, ns

from .ground import Ground

PROGRAM = "/bin/true"


def one_id() -> ns.User:
    """Return a user namespace with the caller's own id as root, which the child maps itself: the C program has no second process to
    wait for.
    """
    return ns.User(uids=[(0, os.geteuid(), 1)], gids=[(0, os.getegid(), 1)])


def kinds(*, net: bool = True) -> dict[str, Part]:
    """Return one part for each kind of namespace, by its name in /proc/PID/ns."""
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
    """Return a whole container: every namespace but time, a root to pivot to, /proc and a minimal /dev."""
    return ck.plan(*kinds(net=net).values(), root, mounts.Dev(), *parts, run=[PROGRAM], hide_executable=hide)


def bound(ground: Ground, *parts: Part, net: bool = True) -> Plan:
    """Return the same container on a plain directory, without an overlay."""
    return full(mounts.Root(ground.root), *parts, net=net)


def bare(ground: Ground, *parts: Part) -> Plan:
    """Return a plan of some parts, with the host's tiny program."""
    return ck.plan(*parts, run=[ground.payload])


def run(plan: Plan) -> None:
    """Spawn, wait and close, as a script would.  :raises RuntimeError: the program failed"""
    with plan.spawn() as process:
        if process.wait():
            raise RuntimeError(f"the program ended with {process.returncode}")
