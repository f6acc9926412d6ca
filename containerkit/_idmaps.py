"""Ranges of ids: what the kernel takes, what the caller has and may map, what /etc/subuid and /etc/subgid give."""

from __future__ import annotations

import itertools
import os
import pwd
from collections.abc import Sequence

from .errors import PlanError

Range = tuple[int, int, int]
"""(first id inside, first id outside, how many)"""

CAP_SETGID, CAP_SETUID = 6, 7
LIMIT = 340  # ranges the kernel takes in one map
ALL: Range = (0, 0, 2**32 - 1)  # the map of the machine's own user namespace


def check(name: str, ranges: Sequence[Range]) -> None:
    """Raises PlanError for ranges that overlap, are empty, or are too many."""
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
    """The id outside that one inside stands for."""
    return next(outside + inside - first for first, outside, count in ranges if first <= inside < first + count)


def own(kind: str) -> tuple[Range, ...]:
    """The ids that there are for this process, "uid" or "gid": all, unless it is in a user namespace.  :see: user_namespaces(7)"""
    try:
        with open(f"/proc/self/{kind}_map") as file:
            found = [tuple(map(int, line.split())) for line in file]
    except FileNotFoundError:  # a kernel without user namespaces
        return (ALL,)
    return tuple((inside, outside, count) for inside, outside, count in found)


def is_machine_root() -> bool:
    """Whether this is root, and not only of a user namespace, whose root is an ordinary user for the machine."""
    return os.geteuid() == 0 and own("uid") == (ALL,)


def machine_uid() -> int:
    """Who this process is for the machine."""
    return outside_of(own("uid"), os.geteuid())


def has_capabilities(*numbers: int) -> bool:
    """Whether the caller has these capabilities.  :see: capabilities(7)"""
    with open("/proc/thread-self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return all(effective >> number & 1 for number in numbers)


def may_map() -> bool:
    """Whether the caller has CAP_SETUID and CAP_SETGID."""
    return has_capabilities(CAP_SETUID, CAP_SETGID)


def subordinate(path: str) -> list[tuple[int, int]]:
    """What /etc/subuid or /etc/subgid gives this user: (first, how many).  :see: subuid(5)"""
    try:
        names = {pwd.getpwuid(os.geteuid()).pw_name, str(os.geteuid())}
    except KeyError:
        names = {str(os.geteuid())}
    try:
        with open(path) as file:
            fields = [line.strip().split(":") for line in file if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        return []
    return [(int(f[1]), int(f[2])) for f in fields if len(f) == 3 and f[0] in names]
