"""The user that a program runs as, inside: user, group and supplementary groups.

ck.Credentials(33, 33)                       www-data
ck.Credentials(1000, 1000, groups=(27,))
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from ..base import checks
from ..base.frozen import frozen
from ..core.remembered import by_value
from ..core.step import Phase, Step
from ..errors import PlanError
from ..linux import syscalls

__all__ = ["Credentials"]

LARGEST = 2**32 - 2
# Order inside DROP: after the bounding set, which needs a capability that this change may remove; before capset, which may remove
# CAP_SETUID.  SET_KEEPCAPS keeps the permitted set until capset; exec clears it for any user other than 0.
ORDER = 25
_HINT = {
    errno.EPERM: "changing ids needs CAP_SETUID and CAP_SETGID, and in a user namespace of an ordinary user setgroups(2) may be denied: "
    "use ns.subids(), or run as root",
    errno.EINVAL: "this user namespace does not map the id: ns.User() maps one; give it uids= and gids=, or use ns.subids()",
}


@by_value
@frozen
class Credentials:
    """The user and the groups that the program runs as.

    Afterwards the real, effective and saved ids are these, and the supplementary groups are exactly `groups`.  A user other than 0 has no
    capability once the program runs, except ambient ones.

    :param uid: user id, as inside
    :param gid: group id, as inside
    :param groups: supplementary group ids, as inside
    :raises PlanError: not an id
    :see: credentials(7), setresuid(2), setgroups(2)
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(checks.listed(self.groups, "groups", "ids")))
        for name, value in (("uid", self.uid), ("gid", self.gid), *(("an id of groups", group) for group in self.groups)):
            if not 0 <= checks.number(value, name) <= LARGEST:
                raise PlanError(f"{value} is not an id: ids go from 0 to {LARGEST}")

    def steps(self) -> Iterable[Step]:
        # Changed ids change which processes may trace the child, so the child must not share the caller's memory: a helper joins the plan.
        why = "the permitted set survives the change of ids, until capset or the exec"
        yield Step.child(Phase.DROP, syscalls.prctl("SET_KEEPCAPS", 1), why=why, order=ORDER, helper="join")
        calls = [
            (syscalls.setgroups(self.groups), f"the groups are {', '.join(map(str, self.groups))}" if self.groups else "no other groups"),
            (syscalls.setresgid(self.gid), f"group {self.gid} from here on"),
            (syscalls.setresuid(self.uid), f"user {self.uid} from here on"),
        ]
        for call, why in calls:
            claims = "credentials" if call.name == "setresuid" else ""
            yield Step.child(Phase.DROP, call, why=why, order=ORDER, helper="join", claims=claims, hint=_HINT)
