"""Results that were made once from the same values, and need not be made again.

A part of the library's own is a frozen value.  Its steps depend on that value and on the host, and on nothing else.  So
the result is kept under the value, with the questions to the host that were asked on the way (see `facts`).  It is used again when
the same value comes along and the host gives the same answers; a result is never older than its answers.

Parts without an exact value are not kept: a part of the user's own, a subclass, an object that holds a descriptor or a file.

:see: "Build Systems a la Carte" (2018), verifying traces
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter

from ..base.frozen import fields
from ..base.protocols import Generic
from ..linux import facts, kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")
    C = TypeVar("C", bound=type)
else:
    T = object

__all__ = ["Inexact", "Memory", "by_value", "exact", "forget", "value_of"]


class Inexact(Exception):
    """A value whose equality only its own code knows."""


# --- exact values ----------------------------------------------------------------------------------------------

_values: dict[type, Callable[[Any], Hashable]] = {}
_PLAIN = frozenset({int, bool, str, bytes, type(None)})


def exact(value: object) -> Hashable:
    """Return a key that is equal only for values that nothing can tell apart: 1 and True differ, and so do "a" and Path("a").

    A list becomes its items as they are now.

    :raises Inexact: it is of a type, or holds something of a type, whose equality is not known to say that
    """
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is tuple or kind is list:
        return kind, *map(exact, value)  # type: ignore[call-overload]
    if kind is frozenset:
        return kind, frozenset(map(exact, value))  # type: ignore[call-overload]
    if kind is float:
        return kind, value.hex()  # type: ignore[attr-defined]
    found = _values.get(kind)
    if found is not None:
        return found(value)
    if _is_path(kind):
        return kind, str(value)
    raise Inexact


def _is_path(kind: type) -> bool:
    """Whether values of a class are paths.  There are none before somebody has loaded `pathlib`, which takes long."""
    pathlib = sys.modules.get("pathlib")
    return pathlib is not None and kind in (pathlib.PosixPath, pathlib.PurePosixPath)


def by_value(kind: C) -> C:
    """Mark a frozen dataclass as a value: its fields say everything that its steps depend on, beside the host.

    Subclasses are not marked by that: their steps may depend on anything.
    """
    names = [field.name for field in fields(kind)]
    if not names:
        _values[kind] = lambda _: kind
    elif len(names) == 1:
        only = attrgetter(*names)
        _values[kind] = lambda value: (kind, exact(only(value)))
    else:
        every = attrgetter(*names)
        _values[kind] = lambda value: (kind, *map(exact, every(value)))
    return kind


def by(key: Callable[[Any], Hashable]) -> Callable[[C], C]:
    """Mark a class as a value.

    :param key: everything that its steps depend on, beside the host; it may raise `Inexact`
    """

    def mark(kind: C) -> C:
        _values[kind] = lambda value: (kind, key(value))
        return kind

    return mark


def value_of(part: object) -> Hashable | None:
    """Return a part's exact value; None where it has none, and its steps are made each time."""
    found = _values.get(type(part))
    try:
        return found(part) if found else None
    except Inexact:
        return None


# --- what is kept ----------------------------------------------------------------------------------------------


class Memory(Generic[T]):
    """Results by key.  The oldest is dropped when there are too many.

    :param most: how many results are kept
    :param fits: whether a result is small enough to be kept
    """

    def __init__(self, most: int, fits: Callable[[T], bool] = lambda result: True) -> None:
        self._most, self._fits = most, fits
        self._kept: dict[Hashable, tuple[T, Mapping[facts.Question, object]]] = {}
        _memories.append(self)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the result of `make`: a new one, or the one for the same key, made when the host gave the same answers.

        :param key: None remembers nothing
        :raises Exception: `make` raised it; it is not kept
        """
        if key is None:
            return make()
        key = key, kernel.assumed()
        found = self._kept.get(key)
        if found is not None and facts.hold(found[1]):
            self._kept[key] = self._kept.pop(key, found)  # the last to go
            return found[0]
        with facts.recorded() as answers:
            result = make()
        if facts.UNKNOWN not in answers.values() and self._fits(result):
            self._keep(key, result, answers)
        return result

    def _keep(self, key: Hashable, result: T, answers: facts.Answers) -> None:
        """Keep a result, without a lock: a fork in another thread, or a signal handler, would find it locked for ever."""
        self._kept.pop(key, None)
        while len(self._kept) >= self._most:
            with contextlib.suppress(RuntimeError, StopIteration):  # another thread was here in between
                self._kept.pop(next(iter(self._kept)), None)
        self._kept[key] = result, answers

    def has(self, key: Hashable, result: T) -> bool:
        """Whether this very result is kept under a key."""
        found = self._kept.get((key, kernel.assumed()))
        return found is not None and found[0] is result

    def forget(self) -> None:
        """Drop everything."""
        self._kept = {}

    def __len__(self) -> int:
        return len(self._kept)


_memories: list[Memory[Any]] = []


def forget() -> None:
    """Drop all results of this process."""
    for memory in _memories:
        memory.forget()
