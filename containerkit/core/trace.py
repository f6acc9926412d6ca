"""The trace: the result and the duration of each step of a plan.

The error report and the benchmark of single system calls both read it.
"""

from __future__ import annotations

import errno as errno_module
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property

from ..base.frozen import frozen
from ..linux.native import extension
from .step import Joined, Side, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Raw = tuple[int, int, int]
"""A result with the ticks of its begin and end."""
ENTRY = struct.Struct("qQQ")
"""A result in memory: struct ck_trace."""


@frozen
class TraceEntry:
    """One step that was made.

    :ivar result: the kernel's answer: a value, or a negated error number
    :ivar begin: microseconds since the spawn began
    :ivar microseconds: how long the call took; for an exec that succeeded, and for the clone, until it was known
    """

    step: Step
    result: int
    begin: float
    microseconds: float
    finished: bool = True

    @property
    def errno(self) -> int:
        """The error number, or 0."""
        return -self.result if self.result < 0 else 0

    def __str__(self) -> str:
        said = errno_module.errorcode.get(self.errno, str(self.result)) if self.finished else "?"
        return f"{self.microseconds:9.1f} us  {self.step.side.value:6}  {self.step} = {said}"


class Trace(Sequence[TraceEntry]):
    """The entries of one spawn, in the order of the plan.  `steps` are all of the plan's, made or not; `child` is an array
    of struct ck_trace.

    Ticks become microseconds when the trace is read.
    """

    def __init__(self, steps: Sequence[Step], parent: Mapping[int, Raw], child: bytes) -> None:
        self.steps = steps if isinstance(steps, Joined) else tuple(steps)
        self._raw, self._now = (parent, child), int(extension().lib.ck_clock())
        _first_pair()

    @cached_property
    def entries(self) -> tuple[TraceEntry, ...]:
        """The steps that were begun."""
        parent, child = self._raw[0], ENTRY.iter_unpack(self._raw[1])
        raw = [(s, parent.get(i) if s.side is Side.PARENT else next(child, None)) for i, s in enumerate(self.steps)]
        made = [(step, entry) for step, entry in raw if entry and entry[1]]
        rate, start = _nanoseconds_per_tick() / 1000, min((entry[1] for _, entry in made), default=0)
        return tuple(_entry(step, entry, start, self._now, rate) for step, entry in made)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the entries in microseconds: the ticks of this process's clock mean nothing in another one."""
        return _read_again, (self.steps, self.entries)

    def __eq__(self, other: object) -> bool:
        """Whether both tell the same: it prints alike, to the last microsecond."""
        return self._told() == other._told() if isinstance(other, Trace) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(entry.result for entry in self))

    def _told(self) -> tuple[list[str], list[tuple[str, int, float, float]]]:
        return [str(step) for step in self.steps], [(str(e.step), e.result, e.begin, e.microseconds) for e in self]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.entries[index]

    def __iter__(self) -> Iterator[TraceEntry]:
        return iter(self.entries)

    @property
    def microseconds(self) -> float:
        """The time from the first step's begin to the last one's end."""
        return max((e.begin + e.microseconds for e in self.entries), default=0.0)

    def position(self, step: Step) -> tuple[int, int]:
        """Return the step's number in the plan, from 1, and the number of steps."""
        places = [i for i, s in enumerate(self.steps, 1) if s is step]
        return (places or [i for i, s in enumerate(self.steps, 1) if s == step] or [0])[0], len(self.steps)

    def done_before(self, step: Step) -> str:
        """Return `1-7` when seven steps were made before this one; the library undoes those that need it."""
        done = self.position(step)[0] - 1
        return "" if done < 1 else "1" if done == 1 else f"1-{done}"

    def __str__(self) -> str:
        lines = [str(e) for e in self.entries]
        child = sum(e.microseconds for e in self.entries if e.step.side is Side.CHILD and e.finished)
        return "\n".join(
            [*lines, f"{self.microseconds:9.1f} us  from the first call to the last, {child:.1f} us of it in the child's calls"]
        )

    def __repr__(self) -> str:
        return f"<Trace of {len(self.entries)} steps, {self.microseconds:.0f} us>"

    def to_json(self) -> list[dict[str, object]]:
        """Return the entries as plain values."""
        return [{"call": str(e.step), "side": e.step.side.value, "result": e.result, "begin_us": round(e.begin, 2),
                 "us": round(e.microseconds, 2)} for e in self]  # fmt: skip

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f"<tr><td style='text-align:right'>{e.microseconds:.1f}</td><td>{e.step.side.value}</td>"
            f"<td style='text-align:left'><code>{html.escape(str(e.step))}</code></td><td>{e.result}</td></tr>"
            for e in self.entries
        )
        return f"<table><tr><th>µs</th><th>side</th><th>call</th><th>result</th></tr>{rows}</table>"


def _read_again(steps: Sequence[Step], entries: Sequence[TraceEntry]) -> Trace:
    trace = Trace.__new__(Trace)
    trace.steps = tuple(steps)
    trace.__dict__["entries"] = tuple(entries)  # where the cached property keeps them
    return trace


def _entry(step: Step, raw: Raw, start: int, now: int, rate: float) -> TraceEntry:
    result, begin, end = raw
    return TraceEntry(step, result, (begin - start) * rate, max(0, (end or now) - begin) * rate, bool(end))


def _pair() -> tuple[int, int]:
    ffi = extension().ffi
    ticks, nanoseconds = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    extension().lib.ck_clock_pair(ticks, nanoseconds)
    return ticks[0], nanoseconds[0]


_first_pair = cache(_pair)


def _nanoseconds_per_tick() -> float:
    """Return the length of a tick, by the longest time this process has watched both clocks: 10 ms at the least."""
    first, now = _first_pair(), _pair()
    if now[1] - first[1] < 10_000_000:
        time.sleep(0.01)
        now = _pair()
    return (now[1] - first[1]) / (now[0] - first[0])
