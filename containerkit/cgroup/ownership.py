"""Groups that are removed when their owner has ended, even when it was killed.

The journal of a process that makes groups says in which directories they are, and what their names begin with: its mark.  So
the process that finds it dead can tell its groups from those of living ones.  See `containerkit.state.journal`.
"""

from __future__ import annotations

import os
import threading

from ..errors import CgroupError, LayerError
from ..state import journal

__all__ = ["PREFIX", "Ownership"]

PREFIX = "containerkit."


class Ownership:
    """This process as an owner of groups, from its first group to its last.

    :ivar mark: the beginning of its groups' names, while it has some
    """

    def __init__(self) -> None:
        self.mark = f"{PREFIX}new."
        self._count, self._homes = 0, dict[str, journal.JournalEntry]()
        self._guard = threading.Lock()

    def acquire(self) -> None:
        """Count one more group.  :raises CgroupError: this process has no place for a journal"""
        with self._guard:
            if not self._count:
                _check_place()
                self.mark = f"{PREFIX}{os.urandom(4).hex()}-{os.getpid()}."
            self._count += 1

    def record_homes(self, homes: set[str]) -> None:
        """Write down where this process's groups are, before they are made."""
        with self._guard:
            for home in sorted(homes - self._homes.keys()):
                self._homes[home] = journal.about_to("groups", home, self.mark)

    def release(self) -> None:
        """Count one group less.  After the last one, nothing of this process is left to sweep."""
        with self._guard:
            self._count -= 1
            if not self._count:
                while self._homes:
                    self._homes.popitem()[1].done()

    def forked(self) -> None:
        """Forget the groups in a child of os.fork(): they are the parent's."""
        self._count, self._guard = 0, threading.Lock()
        self._homes.clear()


def _check_place() -> None:
    try:
        journal.own()
    except LayerError as error:
        raise CgroupError(error.errno, error.strerror, error.filename) from None
