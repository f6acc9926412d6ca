"""The part of a build that all its stages share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ..base.frozen import field, record
from .errors import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.process import Process
    from .cache import Cache, Record
    from .digests import Digests
    from .mounting import SecretSource
    from .tree import Tree
    from .workspace import Workspace

__all__ = ["BuildSession"]


class Running:
    """The programs that run now.  `stop` ends them, and lets no other begin."""

    def __init__(self) -> None:
        self._lock, self._stopped = threading.Lock(), False
        self._processes: set[Process] = set()

    @contextmanager
    def watching(self, process: Process) -> Iterator[None]:
        """`process` is one of them, for as long as the ``with`` lasts."""
        with self._lock:
            self._processes.add(process)
            if self._stopped:
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._processes.discard(process)

    def stop(self) -> None:
        """Kill all programs of the session, with the processes they started."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()

    def check(self) -> None:
        """:raises BuildError: they were stopped"""
        if self._stopped:
            raise BuildError("the build was stopped")


@record
class BuildSession:
    """The part of a build that all its stages share.

    :param tree_of: returns the tree of a stage, an image or a named context, and whether its files keep their owners; "" means the context
    :param args: the given build arguments
    :param outer: the values of the ARGs above the first FROM
    :param secrets: by id
    :param network: of a RUN that names none
    :param use_cache: reuse the results of earlier builds
    :param created: the time to record for every instruction; "" records the real one
    :ivar used: the names of the declared ARGs
    :ivar kept: the records that the build used, by key
    """

    workshop: Workspace
    cache: Cache
    digests: Digests
    tree_of: Callable[[str], tuple[Tree, bool]]
    args: Mapping[str, str] = field(default_factory=dict)
    outer: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretSource] = field(default_factory=dict, repr=False)
    network: str = "default"
    use_cache: bool = True
    created: str = ""
    running: Running = field(default_factory=Running)
    used: set[str] = field(default_factory=set)
    kept: dict[str, Record] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _keys: dict[str, threading.Lock] = field(default_factory=dict)

    @contextmanager
    def once(self, key: str) -> Iterator[None]:
        """Hold the lock of a key, so that two stages with a common beginning build it once."""
        with self._lock:
            lock = self._keys.setdefault(key, threading.Lock())
        with lock:
            yield

    def keep(self, key: str, record: Record) -> None:
        """Note that the build used a record."""
        with self._lock:
            self.kept[key] = record
