"""Descriptors that the library keeps open until this process ends: a check for leaks asks here which those are.

@keeps
def descriptors(): ...          a module says which descriptors it keeps; it is asked each time
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Source = TypeVar("Source", bound=Callable[[], Iterable[int]])

__all__ = ["FileId", "descriptors", "file_of", "is_still", "keeps"]

#: Device and inode of an open file.
FileId = tuple[int, int]

_sources: list[Callable[[], Iterable[int]]] = []


def keeps(source: Source) -> Source:
    """Make `source` one of those that `descriptors` asks.  Return it, so that this is also a decorator."""
    _sources.append(source)
    return source


def descriptors() -> frozenset[int]:
    """Return every descriptor that a loaded module of the library keeps on purpose."""
    return frozenset(fd for source in _sources for fd in source())


def file_of(fd: int) -> FileId:
    """Return which file a descriptor is of, to ask `is_still` later.  :raises OSError: the descriptor is closed"""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def is_still(fd: int, file: FileId) -> bool:
    """Whether a descriptor is still of this file: a daemon that closes every descriptor closes ours too, and its number is reused."""
    try:
        return file_of(fd) == file
    except OSError:
        return False
