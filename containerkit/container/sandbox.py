"""A sandbox for code that the caller does not trust: every part there is, in one."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

from ..base import checks
from ..core.plan import Plan
from ..core.remembered import Inexact, Memory, exact
from ..core.step import Part
from ..layers.layerfs import LayerFS
from ..layers.lowers import Lower
from ..parts import mounts
from ._planning import plan_of
from .namespaces import HOST, NEW, Namespaces
from .profile import Profile
from .spec import ContainerSpec

__all__ = ["sandbox"]


def sandbox(root: Lower | LayerFS, *more: Part, hostname: str = "sandbox", network: bool = False, tmp: int | str = "64M") -> Plan:
    """Return a part that leaves a program nothing but its own processes, a root it cannot change, and some memory in /tmp.

    It is root in a user namespace, without a single capability, behind a system call filter, without a network; outside it is the
    caller, or nobody where root calls.  It is process 1, so that its reported usage is complete.  The sandbox does not limit how much the
    program uses: put a `Cgroup` beside it, and give `run` a timeout.

    :param root: a directory or an `Image`, which stay as they are; or an entered `LayerFS`, which takes the changes
    :param more: further parts
    :param hostname: the host name inside
    :param network: True leaves it the caller's network
    :param tmp: the size of /tmp
    :raises PlanError: `root` is no directory, or the parts contradict each other
    """
    return _sandboxes.get(
        _value(root, more, hostname, network, tmp), lambda: _sandbox(root, *more, hostname=hostname, network=network, tmp=tmp)
    )


def _value(root: Lower | LayerFS, more: tuple[Part, ...], *words: object) -> Hashable | None:
    """Return the key of a sandbox, equal for equal arguments; None over an image or a LayerFS, which are not kept here."""
    try:
        return None if more or not checks.is_path(root) else exact((root, *words))
    except Inexact:
        return None


def _sandbox(root: Lower | LayerFS, *more: Part, hostname: str, network: bool, tmp: int | str) -> Plan:
    layers = root if isinstance(root, LayerFS) else LayerFS(root, readonly=True)
    return plan_of(_spec(hostname, network, tmp, layers.readonly), layers, None, more=more, files=(), die_with_parent=False)


@lru_cache(maxsize=32)
def _spec(hostname: str, network: bool, tmp: int | str, read_only: bool) -> ContainerSpec:
    return ContainerSpec(
        hostname=hostname, read_only=read_only, ids="single", namespaces=Namespaces(net=HOST if network else NEW),
        mounts=(mounts.Dev(), mounts.Tmpfs("/tmp", size=tmp)), profile=Profile.bare(),
    )  # fmt: skip


_sandboxes: Memory[Plan] = Memory(16)
