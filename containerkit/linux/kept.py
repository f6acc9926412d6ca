"""Descriptors that the library keeps open until this process ends: a check for leaks asks here which those are.

@keeps
def descriptors(): ...          a module says which descriptors it keeps; it is asked each time
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Source = TypeVar("Source", bound=Callable[[], Iterable[int]])

__all__ = ["descriptors", "keeps"]

_sources: list[Callable[[], Iterable[int]]] = []


def keeps(source: Source) -> Source:
    """Make `source` one of those that `descriptors` asks.  Return it, so that this is also a decorator."""
    _sources.append(source)
    return source


def descriptors() -> frozenset[int]:
    """Return every descriptor that a loaded module of the library keeps on purpose."""
    return frozenset(fd for source in _sources for fd in source())
