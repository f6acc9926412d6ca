"""The owner of a program's streams: the user and the group that the program has when its plan is done, by the caller's count.

A program that opens /dev/stdout opens its own pipe again, and the kernel checks the pipe's owner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..linux.syscalls import Bytes, Call, Tool
from .step import Side, Step

__all__ = ["inside", "outside"]

Range = tuple[int, int, int]


def inside(steps: Sequence[Step], kind: str) -> int | None:
    """Return the "uid" or "gid" that the program has by its own count; None where no step changes it."""
    calls = [step.call for step in steps if step.side is Side.CHILD and step.call.name == f"setres{kind}"]
    number = calls[-1].args[1] if calls else None
    return int(number) if isinstance(number, int) else None


def outside(steps: Sequence[Step]) -> tuple[int, int] | None:
    """Return the program's user and group by the caller's count.  None where they are the caller's own, or only the kernel knows them.

    :param steps: the steps of a plan, in order
    """
    found = [_outside(steps, kind) for kind in ("uid", "gid")]
    return (found[0], found[1]) if found[0] is not None and found[1] is not None else None


def _outside(steps: Sequence[Step], kind: str) -> int | None:
    number, ranges = inside(steps, kind), list(_map(steps, kind))
    if number is None or (not ranges and any(step.claims == "user namespace" for step in steps)):
        return None  # the map is of a namespace that is joined
    if not ranges:
        return number
    return next((out + number - first for first, out, count in ranges if first <= number < first + count), None)


def _map(steps: Sequence[Step], kind: str) -> Iterator[Range]:
    """Yield the map that the plan gives to its user namespace: what it writes to a file of that name, or passes to newuidmap(1)."""
    for place, step in enumerate(steps):
        if isinstance(step.call, Tool):
            if step.call.name == f"new{kind}map":
                numbers = [int(word) for word in step.call.argv[2:]]
                yield from zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
        elif step.call.name in ("openat", "openat2") and place + 1 < len(steps) and _named(step.call, f"{kind}_map"):
            following = steps[place + 1]
            data = following.call.args[1] if len(following.call.args) > 1 else None
            for line in data.data.decode().splitlines() if isinstance(data, Bytes) else ():
                first, out, count = map(int, line.split())
                yield first, out, count


def _named(call: Call | Tool, name: str) -> bool:
    path = call.args[1]
    return isinstance(path, bytes) and path.endswith(name.encode())
