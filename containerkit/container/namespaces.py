"""Which namespaces a container has: new ones, the caller's, or pinned ones."""

from __future__ import annotations

from ..base.frozen import frozen
from ..errors import PlanError
from . import _checks as checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["HOST", "NEW", "Namespaces"]

NEW, HOST = "new", "host"


def _choice(value: Any) -> str:
    found = checks.path(value)
    if found not in (NEW, HOST) and not found.startswith("/"):
        raise PlanError(f'expected "new", "host" or the absolute path of a namespace, not {found!r}')
    return found


@frozen
class Namespaces:
    """The choice for each kind: "new"; "host", which is the caller's own; or the path of one to join, as ``/proc/12/ns/net``.

    The mount namespace is always new, for the root is mounted in it.

    :raises SpecError: a value is none of these
    :see: namespaces(7)
    """

    user: str = NEW
    pid: str = NEW
    net: str = NEW
    ipc: str = NEW
    uts: str = NEW
    cgroup: str = NEW

    def __post_init__(self) -> None:
        checks.settle(self, _CHECKS)


_CHECKS = dict.fromkeys(("user", "pid", "net", "ipc", "uts", "cgroup"), _choice)
