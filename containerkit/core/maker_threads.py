"""The threads that make processes for an event loop, and that clean up after it.

They live as long as this Python does: a program made with ``die_with_parent`` ends with the *thread* that made it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Making", "clean_up"]

THREADS = 4  # make processes, and as many clean up: one of them holds the interpreter, the others are in system calls

T = TypeVar("T")

_MAKING = ThreadPoolExecutor(THREADS, "containerkit spawns")
_ENDING = ThreadPoolExecutor(THREADS, "containerkit cleans up")


def _renew() -> None:
    """Make new thread pools in a child of os.fork(), which has none of the threads."""
    global _MAKING, _ENDING
    _MAKING, _ENDING = ThreadPoolExecutor(THREADS, "containerkit spawns"), ThreadPoolExecutor(THREADS, "containerkit cleans up")


os.register_at_fork(after_in_child=_renew)


class Making(Generic[T]):
    """An object that a thread makes, and that is ended if the task is cancelled or the loop is closed meanwhile.

    :param make: a function that makes the object
    :param close: a function that ends it; its argument is None where it was not made
    """

    made: T

    def __init__(self, make: Callable[[], T], close: Callable[[T | None], object]) -> None:
        self._make, self._close, self._lock, self._closed = make, close, threading.Lock(), False

    def _begin(self) -> None:
        with self._lock:
            if not self._closed:
                self.made = self._make()

    def end(self) -> None:
        """Wait for the thread that makes the object, then end the object."""
        with self._lock:
            self._closed = True
            self._close(getattr(self, "made", None))

    async def start(self) -> None:
        """Make the object.  When this task is cancelled, an object that was made meanwhile is gone on return."""
        try:
            await _in_thread(_MAKING, self._begin)
        except GeneratorExit:
            self.end()
            raise
        except BaseException:
            await clean_up(self.end)
            raise

    async def __aenter__(self) -> None:
        await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if kind is GeneratorExit:  # the loop was closed under the task: nothing can be awaited any more
            self.end()
        else:
            await clean_up(self.end)


async def clean_up(function: Callable[[], T]) -> T:
    """Return the result of a function that blocks, and that has to be called, also when the task is cancelled."""
    return await _in_thread(_ENDING, function, sure=True)


async def _in_thread(pool: ThreadPoolExecutor, function: Callable[[], T], *, sure: bool = False) -> T:
    """Return the result of a function that blocks.

    :param sure: the function is called, and ends, also when the task is cancelled; cancelling a second time only stops the waiting
    """
    loop, cancelled = asyncio.get_running_loop(), None
    future, done = pool.submit(function), asyncio.Event()

    def tell(_: Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    try:
        await done.wait()
    except asyncio.CancelledError as error:
        if not sure:
            future.cancel()
            raise
        cancelled = error
        await done.wait()
    result = future.result()
    if cancelled:
        raise cancelled
    return result
