"""Who stopped the program: what a group saw between the beginning and the end of one.

A program that kills itself with SIGKILL looks like one that the OOM killer took, except to the group's own counters.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

from ..base.frozen import frozen

if TYPE_CHECKING:
    from types import TracebackType

    from .cgroup import Cgroup

__all__ = ["Counts", "Watch", "standing_in", "verdict"]


@frozen
class Counts:
    """:ivar oom_kills: processes the OOM killer took in the group or below  :ivar refused: forks that met pids.max"""

    oom_kills: int = 0
    refused: int = 0


def verdict(before: Counts, after: Counts, returncode: int) -> Literal["oom", "pids"] | None:
    """What the group has to do with how a program ended.

    "oom": the OOM killer took one of its processes, and it ended badly; "pids": a fork was refused, and it ended badly
    by itself.  None: the group did not stop it.

    :param returncode: the exit code, or minus the signal
    """
    if returncode == 0:
        return None
    if after.oom_kills > before.oom_kills:
        return "oom"
    if after.refused > before.refused and returncode != -signal.SIGKILL:
        return "pids"
    return None


#: Groups that are not made -> what stands in for them in the run that this context is in.
_stand_ins: ContextVar[Mapping[Cgroup, Cgroup]] = ContextVar("containerkit.cgroup.stand_ins")


def standing_in(group: Cgroup) -> Cgroup:
    """The group that a run made in place of `group`; else `group` itself."""
    return _stand_ins.get({}).get(group, group)


class Watch:
    """A group during one run.  Where it is not made, the run gets another one like it, which goes with the run.

    A plan names the group that it was made with.  Whichever thread or task enters the watch finds the other one in its place.
    """

    def __init__(self, group: Cgroup) -> None:
        self._named, self._group, self._before = group, group, Counts()

    def __enter__(self) -> Watch:
        if not self._named.exists:
            self._group = self._named.another().make()
            _stand_ins.set({**_stand_ins.get({}), self._named: self._group})
        self._before = self._group.counts()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self._group is not self._named:
            _stand_ins.set({named: other for named, other in _stand_ins.get({}).items() if named is not self._named})
            self._group.close()

    def verdict(self, returncode: int) -> Literal["oom", "pids"] | None:
        """Who stopped the program that ended with `returncode`, as far as this group knows."""
        return verdict(self._before, self._group.counts(), returncode)

    def memory_peak(self) -> int | None:
        """Bytes the group had in use at most since it was made; None where nobody counted."""
        return self._group.memory_peak()
