"""The features of this kernel, found out once with calls that change nothing.

Degrading is allowed only where the meaning is the same.  Where it would not be, the plan raises `Unavailable`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import cache

from ..errors import Unavailable

__all__ = ["FLOOR", "assume_missing", "assumed", "has", "require", "version"]

#: The oldest kernel the library is made for.
FLOOR = (5, 10)
#: The kernel versions that brought a call, for machines without the compiled extension.
SINCE = {"clone3": (5, 3), "openat2": (5, 6), "close_range": (5, 9), "fsopen": (5, 2), "open_tree": (5, 2), "move_mount": (5, 2),
         "mount_setattr": (5, 12), "pidfd_open": (5, 3), "statmount": (6, 8), "landlock_create_ruleset": (5, 13),
         "userxattr": (5, 11), "lowerdir+": (6, 7), "exec enters time namespaces": (6, 3),
         "idmapped layers": (5, 19), "copies of detached mounts": (6, 15)}  # fmt: skip
#: Arguments with which each of these calls fails before it does anything.
HARMLESS = {"clone3": (0, 0), "openat2": (-1, 0, 0, 0), "close_range": (2, 1), "fsopen": (0, 0), "open_tree": (-1, 0, 1 << 30),
            "move_mount": (-1, 0, -1, 0, 1 << 30), "mount_setattr": (-1, 0, 0, 0, 0), "pidfd_open": (-1, 0),
            "statmount": (0, 0, 0, 0), "landlock_create_ruleset": (0, 0, 1 << 30)}  # fmt: skip

_missing: frozenset[str] = frozenset()


@cache
def version() -> tuple[int, int]:
    """Return the running kernel's version: (major, minor)."""
    major, _, rest = os.uname().release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(minor)) if major.isdecimal() and minor else (0, 0)


def has(name: str) -> bool:
    """Whether a system call (or a feature named in SINCE) is there.  A sandbox that hides a call counts as without it."""
    return name not in _missing and _probe(name)


@cache
def _probe(name: str) -> bool:
    if name not in HARMLESS:
        return version() >= SINCE[name]
    from .native import extension, number

    try:
        trace = extension().ffi.new("struct ck_trace *")
        arguments = [value & 0xFFFFFFFFFFFFFFFF for value in (*HARMLESS[name], 0, 0, 0, 0, 0, 0)[:6]]
        return int(extension().lib.ck_call(trace, number(name), *arguments)) != -38
    except Unavailable:
        return version() >= SINCE[name]


def require(name: str, what: str) -> None:
    """Raise Unavailable, saying what needs it, when `name` is not there."""
    if not has(name):
        since = ".".join(map(str, SINCE[name]))
        probed = f"the call on Linux {os.uname().release}" if name in HARMLESS else f"Linux {os.uname().release}"
        raise Unavailable(f"{what} ({name})", probed=probed, remedy=f"Linux {since} or newer, and no sandbox that hides the call")


@contextlib.contextmanager
def assume_missing(*names: str) -> Iterator[None]:
    """Make plans as for a kernel without these features, to print or to test the older way."""
    global _missing
    added = set(names) - _missing
    _missing |= added
    try:
        yield
    finally:
        _missing -= added


def assumed() -> frozenset[str]:
    """Return the features that are assumed to be missing now."""
    return _missing
