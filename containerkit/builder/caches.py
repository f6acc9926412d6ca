"""Cache mounts: directories that stay from build to build and are in no layer: RUN --mount=type=cache.

    caches = Caches(store.directory)
    path = caches.take("/root/.cache", "locked", fill)      locked as `sharing` says, until `close`
    prune(store)                                            removes the caches that are not in use

:see: https://docs.docker.com/reference/dockerfile/#run---mounttypecache
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..linux.descriptor import owned
from ..state.locks import locked, try_lock
from ..state.scratch import remove
from ..store.store import Store
from .errors import BuildError

__all__ = ["Caches", "prune"]

DIRECTORY = "build/mounts"  # below a store's directory
PAUSE = 0.02  # seconds between two attempts to lock
MOST = 1000  # private copies of one cache at a time
FILES, NEW, MAKING = "files", "new", "making"

Fill = Callable[[Path], None]


class Caches:
    """The cache mounts of one program.

    :param store: the store's directory
    :param check: is called while another program holds a lock; an exception from it ends the wait
    """

    def __init__(self, store: Path, check: Callable[[], object] = lambda: None) -> None:
        self._base, self._held, self._check = store / DIRECTORY, ExitStack(), check
        self._taken: dict[tuple[str, bool], Path] = {}

    def take(self, name: str, sharing: str, fill: Fill) -> Path:
        """Return the directory of a cache.  A second call with the same arguments returns the same directory.

        :param sharing: "shared": used by all at once; "locked": waits for exclusive use; "private": a copy for this program alone
        :param fill: writes the initial content of a new cache into an empty directory
        """
        key = (name, sharing == "private")
        if key not in self._taken:
            import hashlib

            place = self._base / hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]
            self._taken[key] = self._free(name, place, fill) if sharing == "private" else self._one(place, sharing == "shared", fill)
        return self._taken[key]

    def _one(self, place: Path, shared: bool, fill: Fill) -> Path:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        while (fd := try_lock(place, shared=shared)) is None:
            self._check()
            time.sleep(PAUSE)
        self._held.callback(os.close, fd)
        return _made(place, fill)

    def _free(self, name: str, base: Path, fill: Fill) -> Path:
        """Lock the first copy of a cache that is not in use."""
        for number in range(MOST):
            place = base.with_name(f"{base.name}.{number}")
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (fd := try_lock(place)) is not None:
                self._held.callback(os.close, fd)
                return _made(place, fill)
        raise BuildError(f"the cache {name} is in use {MOST} times")

    def close(self) -> None:
        """Unlock all caches."""
        self._held.close()
        self._taken.clear()


def prune(store: Store) -> int:
    """Remove the caches that are not in use, and return how many."""
    count = 0
    for place in sorted((store.directory / DIRECTORY).glob("*")):
        if (fd := try_lock(place)) is not None:
            with owned(fd), contextlib.suppress(FileNotFoundError):
                remove(place / FILES)
                remove(place / NEW)
                count += 1
    return count


def _made(place: Path, fill: Fill) -> Path:
    """Return the cache's files, filled first if this is the first use.  A half-filled one is filled again."""
    with locked(place / MAKING):
        if not (place / FILES).is_dir():
            remove(place / NEW)
            (place / NEW).mkdir()
            fill(place / NEW)
            os.rename(place / NEW, place / FILES)
    return place / FILES
