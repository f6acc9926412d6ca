"""Capabilities: root's power in pieces.  A program gets the named ones and can never get another.

A process has four sets that matter.  Bounding: the capabilities that an exec may still give.  Permitted and effective: those that the
process has and uses.  Ambient: those that a user other than root keeps across an exec.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from functools import cache

from ..base.frozen import frozen, replace
from ..core.remembered import by_value
from ..core.step import Phase, Step
from ..errors import PlanError
from ..linux import syscalls
from ..linux.facts import read
from ..linux.syscalls import Labelled

__all__ = ["NAMES", "Capabilities"]

#: The kernel's names; a name's index is its number.
NAMES = tuple(
    "CAP_" + name
    for name in """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
""".split()
)
#: The capabilities that common container engines leave to a container's root.
DEFAULT = tuple(
    "CAP_" + name
    for name in """
CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
""".split()
)

LAST_CAP = "/proc/sys/kernel/cap_last_cap"
# Order inside DROP: emptying the bounding set needs CAP_SETPCAP, so it comes before capset; raising ambient ones needs capset's result.
BOUNDING, CAPSET, AMBIENT = 20, 30, 32
CLEAR_ALL, RAISE = Labelled(4, "PR_CAP_AMBIENT_CLEAR_ALL"), Labelled(2, "PR_CAP_AMBIENT_RAISE")

_NEEDS_SETPCAP = "dropping from the bounding set needs CAP_SETPCAP: run as root, or in a user namespace (ns.User())"
_NOT_HELD = "a capability can only be kept, not gained: the caller, or this user namespace, lacks one of these"


@by_value
@frozen
class Capabilities:
    """Exactly these capabilities, and no way to get others.  Make a value with `none`, `only` or `default`.

    Afterwards the bounding, permitted and effective sets are `names`.  The inheritable and ambient sets are empty, or `names` too with
    `ambient`.  Without `ambient` a user other than 0 has no capability after an exec.

    :param names: the kernel's names, as in ``CAP_NET_BIND_SERVICE``
    :param ambient: keep them across the exec for a program that is not user 0 in its namespace
    :raises PlanError: an unknown name
    :see: capabilities(7)
    """

    names: frozenset[str]
    ambient: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(map(_known, self.names)))

    @classmethod
    def none(cls) -> Capabilities:
        """Return the value without any capability: even user 0 is then an ordinary user."""
        return cls(frozenset())

    @classmethod
    def only(cls, *names: str, ambient: bool = False) -> Capabilities:
        """Return the value with these capabilities.

        :raises PlanError: an unknown name
        """
        return cls(frozenset(names), ambient)

    @classmethod
    def default(cls) -> Capabilities:
        """Return the fourteen that container engines commonly leave to root.  Fewer are safer: name those that the program needs."""
        return cls(frozenset(DEFAULT))

    def adding(self, *names: str) -> Capabilities:
        """Return the value with these as well.

        :raises PlanError: an unknown name
        """
        return replace(self, names=self.names | set(names))

    def dropping(self, *names: str) -> Capabilities:
        """Return the value without these.

        :raises PlanError: an unknown name
        """
        return replace(self, names=self.names - set(map(_known, names)))

    @property
    def mask(self) -> int:
        """The set as the kernel encodes it: bit n for capability n."""
        return sum(1 << NAMES.index(name) for name in self.names)

    def steps(self) -> Iterable[Step]:
        yield from drop_from_bounding(self.mask)
        why = "no capability passes to programs of ordinary users" + (", until it is raised below" if self.ambient else "")
        yield Step.child(Phase.DROP, syscalls.prctl("CAP_AMBIENT", CLEAR_ALL), why=why, order=BOUNDING)
        call = syscalls.capset(self.mask, self.mask, self.mask if self.ambient else 0)
        why = f"keep {', '.join(self._ordered())}" if self.names else "keep no capability"
        yield Step.child(Phase.DROP, call, why=why, order=CAPSET, claims="capabilities", hint={errno.EPERM: _NOT_HELD})
        if self.ambient:
            yield from raise_ambient(self.mask, AMBIENT)

    def _ordered(self) -> list[str]:
        return sorted(self.names, key=NAMES.index)


def drop_from_bounding(mask: int, held: int | None = None) -> Iterator[Step]:
    """Yield the steps after which no exec can give a capability outside of `mask`.

    :param held: the bounding set before; by default every capability that the kernel knows
    """
    last = _last()
    for number in range(64 if last is None else last + 1):
        if not mask >> number & 1 and (held is None or held >> number & 1):
            call, unsure = syscalls.prctl("CAPBSET_DROP", _shown(number)), last is None and number >= len(NAMES)
            why, tolerates = "no exec can give it any more", {errno.EINVAL} if unsure else ()
            yield Step.child(Phase.DROP, call, why=why, order=BOUNDING, hint={errno.EPERM: _NEEDS_SETPCAP}, tolerates=tolerates)


def raise_ambient(mask: int, order: int) -> Iterator[Step]:
    """Yield the steps that keep these capabilities across an exec by any user.  They must be permitted and inheritable already."""
    for number in range(64):
        if mask >> number & 1:
            call = syscalls.prctl("CAP_AMBIENT", RAISE, _shown(number))
            hint = {errno.EPERM: "securebits of the caller forbid ambient capabilities (SECBIT_NO_CAP_AMBIENT_RAISE)"}
            yield Step.child(Phase.DROP, call, why="a program of any user keeps it", order=order, hint=hint)


def _last() -> int | None:
    """Return the greatest capability this kernel knows; None when it does not say.  The oldest supported kernel knows all of `NAMES`."""
    return _last_cap(LAST_CAP)


@cache
def _last_cap(path: str) -> int | None:
    try:
        return int(read(path) or b"")
    except (OSError, ValueError):
        return None


def _shown(number: int) -> Labelled:
    return Labelled(number, NAMES[number] if number < len(NAMES) else f"capability {number}")


def _known(name: str) -> str:
    if name not in NAMES:
        import difflib

        close = difflib.get_close_matches(str(name).upper(), NAMES, 1)
        raise PlanError(f"no such capability: {name!r}" + (f", did you mean {close[0]}?" if close else ""))
    return name
