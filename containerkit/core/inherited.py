"""The session keyring and the groups of the caller, which a child would inherit although it is in new namespaces.

Both reach beyond a namespace.  A key of the caller's can be read, or used by a network file system, wherever the keyring is
the program's session keyring.  A file that one of the caller's supplementary groups may read is read through a bind as well.
So a plan that shuts its program in leaves both behind, first of all.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import cache

from ..errors import Unavailable
from ..linux import native, procfs, syscalls
from ..linux.facts import ask, text_of
from ..linux.syscalls import Call, Labelled
from .standard_steps import Options
from .step import Phase, Step

JOIN_SESSION_KEYRING, GET_KEYRING_ID, SESSION_KEYRING = 1, 0, -3
CAP_SETGID = 6
_SHUT_IN = frozenset({"user namespace", "mnt namespace", "root"})
_HINTS = {
    errno.EDQUOT: "this user has as many keys as it may (one for each running container): sysctl kernel.keys.maxkeys, or "
    "plan(..., keep_keyring=True) where the program may have the caller's keys",
    errno.EPERM: "a filter or a security module of the caller's refuses a new session keyring, but not the use of the old one: "
    "plan(..., keep_keyring=True) where the program may have the caller's keys",
    errno.EACCES: "a security module of the caller's refuses a new session keyring",
}
_GROUPS_HINTS = {errno.EPERM: "the plan was made with CAP_SETGID, and is spawned without"}


def left_behind(steps: Sequence[Step], options: Options, *, apart: bool) -> list[Step]:
    """Return the steps before all others of the child.

    :param steps: the steps of the parts
    :param apart: the child begins in the caller's user namespace, and makes its own later
    """
    claims = {step.claims for step in steps}
    if not claims & _SHUT_IN:
        return []
    new_user = any(s.claims == "user namespace" and not s.joins for s in steps)
    keyring = [] if options.keep_keyring else [_new_keyring()]
    # Inside a new user namespace setgroups(2) waits for a map, and ns.User() knows whether that comes.
    return keyring + ([_no_groups()] if (apart or not new_user) and may_drop_groups() else [])


def _new_keyring() -> Step:
    call = Call("keyctl", (Labelled(JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"), None))
    without = ask(keyctl_refusal)
    why = "none of the caller's keys" + (", which nothing can use here: every use of keyctl(2) is refused" if without else "")
    return Step.child(Phase.IDENTITY, call, why=why, tolerates=without, hint=_HINTS)


def _no_groups() -> Step:
    return Step.child(Phase.IDENTITY, syscalls.setgroups(()), why="none of the caller's groups", hint=_GROUPS_HINTS)


@cache
def keyctl_refusal() -> frozenset[int]:
    """Return how this machine refuses every use of keyctl(2): ENOSYS or EPERM; empty where it does not.

    A kernel without keyrings says ENOSYS, a filter either.  Programs inherit the filter, so they read no key.  The
    question is a call that changes nothing.
    """
    try:
        native.call("keyctl", GET_KEYRING_ID, SESSION_KEYRING & 0xFFFFFFFF, 0)
    except OSError as error:
        return frozenset({errno.ENOSYS, errno.EPERM} & {error.errno or 0})
    except Unavailable:  # without the extension the plan is printed, and not run
        pass
    return frozenset()


def may_drop_groups() -> bool:
    """Whether the caller has CAP_SETGID in a user namespace that allows setgroups(2).  :see: user_namespaces(7)"""
    if not procfs.effective_capabilities() >> CAP_SETGID & 1:
        return False
    try:
        said = text_of("/proc/self/setgroups")
    except OSError:
        said = None
    return said is None or said.strip() == "allow"  # None: a kernel without user namespaces
