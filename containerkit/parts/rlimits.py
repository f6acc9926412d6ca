"""Resource limits: the most of a resource that one process, or one user, may use.

They are older than cgroups and count per process (nproc, memlock, msgqueue and sigpending: per user).  For a limit on a whole container
use a cgroup.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from ..base.frozen import frozen
from ..core.remembered import by_value
from ..core.step import Phase, Step
from ..errors import PlanError
from ..linux import syscalls
from ..linux.syscalls import Labelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Limit = int | Literal["unlimited"]

__all__ = ["Rlimits"]


UNLIMITED = 0xFFFFFFFFFFFFFFFF
ORDER = 10  # inside DROP: first, because raising a limit needs a capability
#: name -> number and unit, as in getrlimit(2)
RESOURCES = {
    "cpu": (0, "seconds of CPU time"), "fsize": (1, "bytes a file may grow to"), "data": (2, "bytes of heap and data"),
    "stack": (3, "bytes of stack"), "core": (4, "bytes of core dump"), "rss": (5, "bytes resident; Linux ignores it"),
    "nproc": (6, "processes and threads of this user"), "nofile": (7, "the highest descriptor, plus one"),
    "memlock": (8, "bytes locked in memory"), "as": (9, "bytes of address space"), "locks": (10, "file locks; Linux ignores it"),
    "sigpending": (11, "queued signals of this user"), "msgqueue": (12, "bytes of POSIX message queues of this user"),
    "nice": (13, "20 minus the lowest nice value"), "rtprio": (14, "real-time priority"),
    "rttime": (15, "microseconds of real-time CPU time without a rest"),
}  # fmt: skip
HINT = {
    errno.EPERM: "a hard limit can be raised only with CAP_SYS_RESOURCE outside of every user namespace, and nofile not above fs.nr_open"
}


@by_value
@frozen(init=False)
class Rlimits:
    """Limits by name: ``Rlimits(nofile=1024, core=0, as_=(2**30, "unlimited"))``.

    :param limits: as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime,
        sigpending, stack; ``as_`` stands for ``as``, a keyword of Python.  A value is the soft and the hard limit in one, or
        (soft, hard), in the units of getrlimit(2); each a number or "unlimited"
    :raises PlanError: an unknown name, or a soft limit above the hard one
    :see: getrlimit(2)
    """

    limits: tuple[tuple[str, int, int], ...]

    def __init__(self, **limits: Limit | tuple[Limit, Limit]) -> None:
        read = sorted(_read(name.removesuffix("_"), value) for name, value in limits.items())
        object.__setattr__(self, "limits", tuple(read))

    def steps(self) -> Iterable[Step]:
        for name, soft, hard in self.limits:
            number, unit = RESOURCES[name]
            resource = Labelled(number, f"RLIMIT_{name.upper()}")
            call = syscalls.prlimit64(resource, soft, hard)
            yield Step.child(Phase.DROP, call, why=f"limit {unit}", order=ORDER, claims=f"limit on {name}", hint=HINT)


def _read(name: str, value: Limit | tuple[Limit, Limit]) -> tuple[str, int, int]:
    if name not in RESOURCES:
        import difflib

        close = difflib.get_close_matches(name, RESOURCES, 1) or sorted(RESOURCES)
        raise PlanError(f"no such resource limit: {name}, did you mean {' or '.join(close)}?")
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2:
        raise PlanError(f"{name} wants one limit, or (soft, hard), not {value!r}")
    soft, hard = (_number(name, n) for n in pair)
    if soft > hard:
        raise PlanError(f"{name}: the soft limit {pair[0]} is above the hard one, {pair[1]}")
    return name, soft, hard


def _number(name: str, value: object) -> int:
    if value == "unlimited":
        return UNLIMITED
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < UNLIMITED:
        raise PlanError(f'{name}: a limit is a number from 0, or "unlimited", not {value!r}')
    return value
