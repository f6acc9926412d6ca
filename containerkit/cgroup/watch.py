"""Watch: compare a group's counters before and after a program, to tell whether the group stopped it.

Only the group's counters tell a program that the OOM killer killed from one that killed itself with SIGKILL.
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
    """Counters of a group.

    :ivar oom_kills: processes that the OOM killer killed in the group or below
    :ivar refused: forks that pids.max refused
    """

    oom_kills: int = 0
    refused: int = 0


def verdict(before: Counts, after: Counts, returncode: int) -> Literal["oom", "pids"] | None:
    """Tell whether the group stopped a program.

    "oom": the OOM killer killed a process of the group, and the program failed; "pids": a fork was refused, and the program failed
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


#: A group that is not made -> the group that the run in this context made for it.
_stand_ins: ContextVar[Mapping[Cgroup, Cgroup]] = ContextVar("containerkit.cgroup.stand_ins")


def standing_in(group: Cgroup) -> Cgroup:
    """Return the group that a run made in place of `group`; else `group` itself."""
    return _stand_ins.get({}).get(group, group)


class Watch:
    """Watches a group during one run.  For a group that is not made, the run gets another one like it, removed after the run.

    A plan names the group that it was made with.  In the thread or task that enters the watch, the other group stands in for that one.
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
        """Return which limit of this group stopped the program that ended with `returncode`, or None."""
        return verdict(self._before, self._group.counts(), returncode)

    def memory_peak(self) -> int | None:
        """Return the most bytes that were in use since the group was made; None where nothing counts them."""
        return self._group.memory_peak()
