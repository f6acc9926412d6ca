"""No new privileges: set-user-ID bits and file capabilities have no effect any more, for good."""

from __future__ import annotations

from collections.abc import Iterable

from ..base.frozen import frozen
from ..core.remembered import by_value
from ..core.step import Phase, Step
from ..linux import syscalls

__all__ = ["NoNewPrivileges"]

ORDER = 40  # inside DROP: after the capabilities are set, before a seccomp filter, which needs it


@by_value
@frozen
class NoNewPrivileges:
    """No program that is executed from here on has more privileges than the process that executes it.

    Afterwards a set-user-ID program runs as its caller, and a seccomp filter may be installed without CAP_SYS_ADMIN.  Children inherit the
    setting, and it cannot be undone.

    :see: PR_SET_NO_NEW_PRIVS(2const), prctl(2)
    """

    def steps(self) -> Iterable[Step]:
        call = syscalls.prctl("SET_NO_NEW_PRIVS", 1)
        yield Step.child(Phase.DROP, call, why="no program run from here on gains privileges", order=ORDER)
