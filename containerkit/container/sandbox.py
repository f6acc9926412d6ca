"""A place to run code that one does not trust: every part there is, in one."""

from __future__ import annotations

from ..core.plan import Plan, plan
from ..core.step import Part
from ..layers.layerfs import LayerFS
from ..layers.lowers import Lower
from ..parts import mounts, ns
from ..parts.capabilities import Capabilities
from ..parts.privileges import NoNewPrivileges
from ..parts.seccomp import Seccomp

__all__ = ["sandbox"]


def sandbox(root: Lower | LayerFS, *more: Part, hostname: str = "sandbox", network: bool = False, tmp: int | str = "64M") -> Plan:
    """A part that leaves a program nothing but its own processes, a root it cannot change, and some memory in /tmp.

    It is root in a user namespace, without a single capability, behind a system call filter, without a network; outside it is the
    caller, or nobody where root calls.  It is process 1, so that what it used is what is reported.  What this does not limit is how much it
    uses: put a `Cgroup` beside it, and give `run` a timeout.

    :param root: a directory or an `Image`, which stay as they are; or an entered `LayerFS`, which takes the changes
    :param more: further parts
    :param hostname: what it is called
    :param network: True leaves it the caller's network
    :param tmp: the size of /tmp
    :raises PlanError: `root` is no directory, or the parts contradict each other
    """
    layers = root if isinstance(root, LayerFS) else LayerFS(root, readonly=True)
    alone: list[Part] = [ns.User(), ns.Mount(), ns.Pid(), ns.Ipc(), ns.Uts(hostname), ns.Cgroup()]
    alone += [] if network else [ns.Net()]
    seen: list[Part] = [layers, mounts.Dev(), mounts.Tmpfs("/tmp", size=tmp), mounts.Masked(), mounts.ReadOnly()]
    return plan(*alone, *seen, Capabilities.none(), NoNewPrivileges(), Seccomp.default(), *more)
