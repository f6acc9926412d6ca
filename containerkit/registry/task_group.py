"""TaskGroup: several functions at a time; the first that fails ends all, and no thread, wait or connection outlives the group."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Protocol, TypeVar

from .errors import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from concurrent.futures import Future

__all__ = ["TaskGroup", "check", "current", "sleep"]

Result = TypeVar("Result")
_here = threading.local()


class Connected(Protocol):
    """A connection that a thread may be waiting for."""

    work: TaskGroup | None

    def cut(self) -> None: ...


class TaskGroup:
    """Runs functions in threads: ``with TaskGroup(4) as work: work.run([f, g])``.

    :param workers: threads at a time
    """

    def __init__(self, workers: int) -> None:
        self.stopped = threading.Event()
        self._pool = ThreadPoolExecutor(workers, "containerkit-registry")
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()

    def run(self, tasks: Iterable[Callable[[], Result]]) -> list[Result]:
        """Run functions and return their results, in order.

        :raises BaseException: the first error, after all threads have ended
        """
        futures = [self._pool.submit(self._one, task) for task in tasks]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        if failed := [f for f in futures if f in done and f.exception()]:
            self.stop(futures)
            raise _first([error for f in failed if (error := f.exception())])
        return [future.result() for future in futures]

    def _one(self, task: Callable[[], Result]) -> Result:
        _here.work = self
        try:
            check()
            return task()
        finally:
            _here.work = None

    def hold(self, connection: Connected) -> None:
        """Register a connection that a thread of this group uses from now on."""
        with self._lock:
            connection.work = self
            self._connections.add(connection)
        if self.stopped.is_set():  # `stop` has cut the others already
            connection.cut()

    def stop(self, futures: Iterable[Future[Any]] = ()) -> None:
        """End all threads: wake those that sleep, and cut the connections of those that read."""
        self.stopped.set()
        for future in futures:
            future.cancel()
        with self._lock:
            connections = [each for each in self._connections if each.work is self]
        for each in connections:
            each.cut()

    def __enter__(self) -> TaskGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if kind:
            self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _first(errors: list[BaseException]) -> BaseException:
    """Return the first error that is no `Cancelled`, which only follows from another error."""
    return next((error for error in errors if not isinstance(error, Cancelled)), errors[0])


def current() -> TaskGroup | None:
    """Return the group of this thread, or None."""
    return getattr(_here, "work", None)


def check() -> None:
    """Check this thread's group.  :raises Cancelled: another task of the group has failed"""
    if (work := current()) and work.stopped.is_set():
        raise Cancelled("given up: another part of the work failed")


def sleep(seconds: float) -> None:
    """Sleep.  :raises Cancelled: another task of the group fails"""
    if work := current():
        work.stopped.wait(seconds)
        check()
    else:
        time.sleep(seconds)


def cut(sock: socket.socket) -> None:
    """Shut a socket down, so that a thread that reads from it or writes to it sees the end."""
    with contextlib.suppress(OSError):
        import socket

        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS's own shutdown would wait for the other side
