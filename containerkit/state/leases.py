"""Who is at work in a store, and what it needs meanwhile.

A lease is a directory below ``staging`` whose flock(2) its owner holds: the kernel drops it with the owner, however that
ends.  What an owner prepares lies in its lease until it is renamed to its place; what it relies on is pinned there, an
empty file a digest, so that nobody collects it.  Whoever takes the next lease removes those of the dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from ..errors import LayerError
from .files import locked, try_lock
from .scratch import remove

__all__ = ["Lease", "Leases"]

PINS = "pins"


class Lease:
    """One owner's place in ``staging``.  Leave it with `close` or a ``with`` block.

    :ivar path: the directory
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self._fd, self._count = path, fd, itertools.count()

    def pin(self, digest: str) -> None:
        """Keeps a blob or a layer from being collected for as long as the lease lasts, whether it is there yet or not."""
        os.close(os.open(self.path / PINS / digest.replace(":", "-"), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def place(self) -> Path:
        """A path for something new, that nobody else uses."""
        return self.path / f"{next(self._count)}"

    def close(self) -> None:
        """Removes what is left, and the pins."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                remove(self.path)
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
        """A new lease.  Sweeps first."""
        self.sweep()
        with locked(self._lock):  # nobody sweeps between making the directory and locking it
            import tempfile

            path = Path(tempfile.mkdtemp(dir=self.directory))
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX)
        (path / PINS).mkdir()
        return Lease(path, fd)

    def pinned(self) -> set[str]:
        """What the living rely on, as digests.  Those of the dead count until they are swept, which harms nobody."""
        found: set[str] = set()
        for lease in self._all():
            with contextlib.suppress(FileNotFoundError):
                found.update(name.replace("-", ":", 1) for name in os.listdir(lease / PINS))
        return found

    def sweep(self) -> list[Path]:
        """Removes the leases of owners that ended.  Returns their paths."""
        swept = []
        with contextlib.ExitStack() as held:
            for path, fd in self._dead():
                held.callback(os.close, fd)
                with contextlib.suppress(LayerError):
                    remove(path)
                    swept.append(path)
        return swept

    def dead(self) -> list[Path]:
        """The leases that the next sweep removes."""
        found = []
        for path, fd in self._dead():
            os.close(fd)
            found.append(path)
        return found

    def _dead(self) -> list[tuple[Path, int]]:
        with locked(self._lock):
            return [(path, fd) for path in self._all() if (fd := try_lock(path)) is not None]

    def _all(self) -> Iterator[Path]:
        return (self.directory / name for name in sorted(os.listdir(self.directory)))
