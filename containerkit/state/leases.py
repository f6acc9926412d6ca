"""Leases: which processes are at work in a store, and which blobs each of them needs.

A lease is a scratch directory below ``staging`` (see `scratch`).  The files that its owner prepares lie in it until they are
renamed into the store; the digests that its owner relies on are pinned there as empty files, so that no process collects
them.  Taking a lease removes those of dead owners first.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from .locks import locked, try_lock
from .scratch import LOCK, Scratch, is_abandoned, remove, sweep_one

__all__ = ["Lease", "Leases"]

PINS = "pins"


class Lease:
    """One owner's directory in ``staging``.  Leave it with `close` or a ``with`` block.

    :ivar path: the directory
    """

    def __init__(self, scratch: Scratch) -> None:
        self.path, self._scratch, self._count = scratch.path, scratch, itertools.count()
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._fd, fcntl.LOCK_EX)  # version 0.1 asks the directory itself who owns it
        (self.path / PINS).mkdir()

    def pin(self, digest: str) -> None:
        """Keep a blob or a layer from being collected for as long as the lease lasts, whether it is there yet or not."""
        os.close(os.open(self.path / PINS / digest.replace(":", "-"), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def place(self) -> Path:
        """Return a path for something new, that nobody else uses."""
        return self.path / f"{next(self._count)}"

    def close(self) -> None:
        """Remove the lease's files, and with them the pins."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._scratch.close()
            finally:
                os.close(fd)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


class Leases:
    """All the leases of a store.  :param root: the store's directory"""

    def __init__(self, root: Path) -> None:
        self.directory, self._lock = root / "staging", root / "locks" / "staging"

    def take(self) -> Lease:
        """Return a new lease.  Sweep first."""
        self.sweep()
        with locked(self._lock):  # version 0.1 does not sweep between the directory and its lock
            return Lease(Scratch("lease", self.directory, prefix=""))

    def pinned(self) -> set[str]:
        """Return the digests that leases pin.  A stale lease pins until it is swept."""
        found: set[str] = set()
        for lease in self._all():
            with contextlib.suppress(FileNotFoundError):
                found.update(name.replace("-", ":", 1) for name in os.listdir(lease / PINS))
        return found

    def sweep(self) -> list[Path]:
        """Remove the leases of owners that ended.  Return their paths."""
        return [path for path in self.dead() if self._remove(path)]

    def dead(self) -> list[Path]:
        """Return the leases that the next sweep removes."""
        with locked(self._lock):
            return [path for path in self._all() if _is_dead(path)]

    def _remove(self, path: Path) -> bool:
        if os.path.lexists(path / LOCK):
            return sweep_one(path)
        with contextlib.suppress(OSError):
            remove(path)
            return True
        return False

    def _all(self) -> Iterator[Path]:
        return (self.directory / name for name in sorted(os.listdir(self.directory)))


def _is_dead(path: Path) -> bool:
    """Whether the owner is dead, also where it is of version 0.1, which locked the directory itself."""
    if os.path.lexists(path / LOCK):
        return is_abandoned(path)
    if (fd := try_lock(path)) is not None:
        os.close(fd)
        return True
    return False
