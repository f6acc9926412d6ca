"""Typed numbers about a group.  A parser keeps or skips the keys that only newer kernels have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from ..base.frozen import field, fields, frozen

__all__ = ["CpuStat", "IoStat", "MemoryStat", "PidsStat", "Stat", "flat", "nested"]


@frozen
class CpuStat:
    """CPU time and throttling.

    :ivar usage_seconds, user_seconds, system_seconds: CPU time used; None where nothing counts it (v1 without cpuacct)
    :ivar periods, throttled: periods with a quota, and those in which the quota ran out
    :ivar throttled_seconds: time spent waiting for the next period, of all CPUs
    :ivar bursts, burst_seconds: periods that used saved-up quota, and the time used of it
    """

    usage_seconds: float | None
    user_seconds: float | None
    system_seconds: float | None
    periods: int
    throttled: int
    throttled_seconds: float
    bursts: int
    burst_seconds: float


@frozen
class MemoryStat:
    """Memory in use.

    :ivar current, peak: bytes now, and the most since the group was made
    :ivar swap: bytes in swap now
    :ivar events: how often the group met low, high, max; oom, oom_kill
    :ivar details: the numbers of memory.stat, in bytes and counts
    """

    current: int
    peak: int | None
    swap: int | None
    events: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, int] = field(default_factory=dict)


@frozen
class IoStat:
    """Bytes and operations of one disk, read, written and discarded."""

    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    dbytes: int = 0
    dios: int = 0


@frozen
class PidsStat:
    """Tasks of a group.

    :ivar current, peak: tasks now, and the most since the group was made
    :ivar refused: forks that the limit refused
    """

    current: int
    peak: int | None
    refused: int


@frozen
class Stat:
    """The use of each resource by a group.  None where its controller is not in play.

    :ivar io: "major:minor" -> numbers
    """

    cpu: CpuStat | None
    memory: MemoryStat | None
    io: Mapping[str, IoStat] | None
    pids: PidsStat | None


def flat(text: str) -> dict[str, int]:
    """Parse ``key value`` lines.  Skip a value that is no whole number."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        with contextlib.suppress(ValueError):
            found[key] = int(value)
    return found


def nested(text: str) -> dict[str, dict[str, int]]:
    """Parse ``name key=value key=value`` lines.  Skip a value that is no whole number."""
    return {words[0]: dict(_pairs(words[1:])) for line in text.splitlines() if (words := line.split())}


def _pairs(words: list[str]) -> Iterator[tuple[str, int]]:
    for word in words:
        key, _, value = word.partition("=")
        with contextlib.suppress(ValueError):
            yield key, int(value)


def cpu(text: str) -> CpuStat:
    """Parse cpu.stat, which is in microseconds."""
    found = flat(text)
    usage, user, system = (found[key] / 1e6 if key in found else None for key in ("usage_usec", "user_usec", "system_usec"))
    throttled, burst = (found.get(key, 0) / 1e6 for key in ("throttled_usec", "burst_usec"))
    periods, throttles, bursts = (found.get(f"nr_{key}", 0) for key in ("periods", "throttled", "bursts"))
    return CpuStat(usage, user, system, periods, throttles, throttled, bursts, burst)


def io(text: str) -> dict[str, IoStat]:
    """Parse io.stat."""
    known = {each.name for each in fields(IoStat)}
    return {disk: IoStat(**{k: v for k, v in pairs.items() if k in known}) for disk, pairs in nested(text).items()}


def number(text: str | None) -> int | None:
    """Parse a file with one number in it; return None for "max" and for no file."""
    with contextlib.suppress(ValueError, AttributeError):
        return int(text.strip())  # type: ignore[union-attr]
    return None
