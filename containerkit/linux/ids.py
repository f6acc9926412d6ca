"""Ranges of ids: what the kernel takes, what the caller has and may map, what /etc/subuid and /etc/subgid give."""

from __future__ import annotations

import itertools
import os
import pwd
from collections.abc import Sequence

from ..errors import PlanError, Unavailable
from .facts import ask, text_of

Range = tuple[int, int, int]
"""(first id inside, first id outside, how many)"""

CAP_SETGID, CAP_SETUID = 6, 7
LIMIT = 340  # ranges the kernel takes in one map
ALL: Range = (0, 0, 2**32 - 1)  # the map of the machine's own user namespace


def check(name: str, ranges: Sequence[Range]) -> None:
    """Raise PlanError for ranges that overlap, are empty, or are too many."""
    if len(ranges) > LIMIT:
        raise PlanError(f"the kernel takes {LIMIT} ranges of {name}s, not {len(ranges)}")
    for numbers in ranges:
        if len(numbers) != 3 or min(numbers) < 0 or numbers[2] == 0 or max(numbers[0], numbers[1]) + numbers[2] >= 2**32:
            raise PlanError(f"a range of {name}s is (inside, outside, count): {numbers!r}")
    for column in (0, 1):
        spans = sorted((r[column], r[column] + r[2]) for r in ranges)
        if any(a[1] > b[0] for a, b in itertools.pairwise(spans)):
            raise PlanError(f"ranges of {name}s overlap {'outside' if column else 'inside'}: {list(ranges)}")


def outside_of(ranges: Sequence[Range], inside: int) -> int:
    """Return the id outside that one inside stands for."""
    return next(outside + inside - first for first, outside, count in ranges if first <= inside < first + count)


def own(kind: str) -> tuple[Range, ...]:
    """The ids that there are for this process, "uid" or "gid": all, unless it is in a user namespace.

    :raises Unavailable: what is mounted at /proc is no procfs
    :see: user_namespaces(7)
    """
    text = text_of(f"/proc/self/{kind}_map")
    if text is None:  # a kernel without user namespaces
        return (ALL,)
    try:
        found = [tuple(map(int, line.split())) for line in text.splitlines()]
        return tuple((inside, outside, count) for inside, outside, count in found)
    except ValueError:
        from . import procfs

        with procfs.proven():  # the kernel writes three numbers in each line, so this is another file system's file
            raise


def is_machine_root() -> bool:
    """Whether this is root, and not only of a user namespace, whose root is an ordinary user for the machine."""
    return ask(os.geteuid) == 0 and own("uid") == (ALL,)


def machine_uid() -> int:
    """Return the ids of this process in the machine's own user namespace."""
    return outside_of(own("uid"), os.geteuid())


def has_capabilities(*numbers: int) -> bool:
    """Whether the caller has these capabilities.  :see: capabilities(7)"""
    from .procfs import effective_capabilities

    effective = effective_capabilities()
    return all(effective >> number & 1 for number in numbers)


def may_map() -> bool:
    """Whether the caller has CAP_SETUID and CAP_SETGID."""
    return has_capabilities(CAP_SETUID, CAP_SETGID)


def subordinate(path: str) -> list[tuple[int, int]]:
    """Return the ranges that /etc/subuid or /etc/subgid gives this user: (first, how many).  :see: subuid(5)"""
    try:
        names = {pwd.getpwuid(os.geteuid()).pw_name, str(os.geteuid())}
    except KeyError:
        names = {str(os.geteuid())}
    return [(first, count) for name, first, count in _given(path) if name in names]


def _given(path: str) -> list[tuple[str, int, int]]:
    """Return the entries of /etc/subuid or /etc/subgid; a line that is none is passed over, as newuidmap(1) does."""
    return [(f[0], int(f[1]), int(f[2])) for f in _fields(path) if len(f) == 3 and f[1].isdecimal() and f[2].isdecimal() and int(f[2])]


def _fields(path: str) -> list[list[str]]:
    lines = (text_of(path) or "").split("\n")
    return [line.strip().split(":") for line in lines if line.strip() and not line.startswith("#")]


# --- the ids of containers that root makes ------------------------------------------------------------------------

NAMES = ("containerkit", "root")
"""Users whose entry in /etc/subuid and /etc/subgid gives root's containers their ids; the first that has one counts."""
FREE = (0x70000000, 0x7FFE0000)
"""The first and the last id to take when there is no entry.  No other program uses this range: see https://systemd.io/UIDS-GIDS/"""
FEWEST = 65536


def has_own_ids() -> bool:
    """Whether a container of this process gets ids of its own: it is root of the machine."""
    return ask(os.geteuid) == 0 and is_machine_root()


def own_range(kind: str, etc: str = "/etc") -> tuple[Range, ...]:
    """Return the map of containers that root makes: no user outside has these ids.

    What /etc/subuid (or subgid) gives to the first of `NAMES` that it has; else the largest part of `FREE` that neither that file
    nor /etc/passwd (or group) names.

    :param kind: "uid" or "gid"
    :raises Unavailable: too few are free
    """
    given = _given(f"{etc}/sub{kind}")
    for name in NAMES:
        if ranges := [(first, count) for owner, first, count in given if owner == name]:
            return _in_a_row(kind, ranges)
    accounts = [(int(f[2]), 1) for f in _fields(f"{etc}/{'passwd' if kind == 'uid' else 'group'}") if len(f) > 2 and f[2].isdecimal()]
    first, count = _largest_gap([*accounts, *((first, count) for _, first, count in given)])
    if count < FEWEST:
        remedy = (
            f"an entry of {NAMES[0]} in {etc}/sub{kind}, such as {NAMES[0]}:{FREE[0]}:{FEWEST}; or the caller's own ids: ns.User.same()"
        )
        raise Unavailable(f"a free range of {kind}s for containers", probed=f"{FREE[0]} to {FREE[1]}", remedy=remedy)
    return ((0, first, count),)


def _in_a_row(kind: str, ranges: Sequence[tuple[int, int]]) -> tuple[Range, ...]:
    """Map ranges outside to consecutive ids inside.  :raises PlanError: root or another user would be among them"""
    found, next_id = [], 0
    for first, count in ranges[:LIMIT]:
        if first <= 0:
            raise PlanError(f"/etc/sub{kind} gives a container the id 0, which is root's")
        found.append((next_id, first, count))
        next_id += count
    check(kind, found)
    return tuple(found)


def _largest_gap(taken: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the largest part of `FREE` in which nothing is taken: (first, how many)."""
    at, (end, best) = FREE[0], (FREE[1], (FREE[0], 0))
    for first, count in sorted([*taken, (end, 0)]):
        gap = min(first, end) - at
        best = (at, gap) if gap > best[1] else best
        at = min(max(at, first + count), end)
    return best
