"""Numbers about a group, typed.  A newer kernel's keys are kept, or passed over; they never break a parser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from ..base.frozen import field, fields, frozen

__all__ = ["CpuStat", "IoStat", "MemoryStat", "PidsStat", "Stat", "flat", "nested"]


@frozen
class CpuStat:
    """:ivar usage_seconds, user_seconds, system_seconds: CPU time used; None where nobody counts it (v1 without cpuacct)
    :ivar periods, throttled: periods with a quota, and those in which it ran out
    :ivar throttled_seconds: time spent waiting for the next period, of all CPUs
    :ivar bursts, burst_seconds: periods that used saved-up quota, and how much of it
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
    """:ivar current, peak: bytes now, and at most since the group was made
    :ivar swap: bytes in swap now
    :ivar events: how often it met low, high, max; oom, oom_kill
    :ivar details: memory.stat as it is, in bytes and counts
    """

    current: int
    peak: int | None
    swap: int | None
    events: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, int] = field(default_factory=dict)


@frozen
class IoStat:
    """Of one disk: bytes and operations, read, written and discarded."""

    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    dbytes: int = 0
    dios: int = 0


@frozen
class PidsStat:
    """:ivar current, peak: tasks now, and at most  :ivar refused: forks that met the limit"""

    current: int
    peak: int | None
    refused: int


@frozen
class Stat:
    """What a group used.  None where its controller is not in play.

    :ivar io: "major:minor" -> numbers
    """

    cpu: CpuStat | None
    memory: MemoryStat | None
    io: Mapping[str, IoStat] | None
    pids: PidsStat | None


def flat(text: str) -> dict[str, int]:
    """``key value`` lines; what is no whole number is passed over."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        with contextlib.suppress(ValueError):
            found[key] = int(value)
    return found


def nested(text: str) -> dict[str, dict[str, int]]:
    """``name key=value key=value`` lines; what is no whole number is passed over."""
    return {words[0]: dict(_pairs(words[1:])) for line in text.splitlines() if (words := line.split())}


def _pairs(words: list[str]) -> Iterator[tuple[str, int]]:
    for word in words:
        key, _, value = word.partition("=")
        with contextlib.suppress(ValueError):
            yield key, int(value)


def cpu(text: str) -> CpuStat:
    """cpu.stat, in microseconds."""
    found = flat(text)
    usage, user, system = (found[key] / 1e6 if key in found else None for key in ("usage_usec", "user_usec", "system_usec"))
    throttled, burst = (found.get(key, 0) / 1e6 for key in ("throttled_usec", "burst_usec"))
    periods, throttles, bursts = (found.get(f"nr_{key}", 0) for key in ("periods", "throttled", "bursts"))
    return CpuStat(usage, user, system, periods, throttles, throttled, bursts, burst)


def io(text: str) -> dict[str, IoStat]:
    """io.stat."""
    known = {each.name for each in fields(IoStat)}
    return {disk: IoStat(**{k: v for k, v in pairs.items() if k in known}) for disk, pairs in nested(text).items()}


def number(text: str | None) -> int | None:
    """A file with one number in it; None for "max" and for no file."""
    with contextlib.suppress(ValueError, AttributeError):
        return int(text.strip())  # type: ignore[union-attr]
    return None
