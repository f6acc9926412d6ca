"""Asking a program to end, and ending it when it does not."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from ..process import Process

__all__ = ["stoppable"]


@contextlib.contextmanager
def stoppable(process: Process, number: int, seconds: float) -> Iterator[None]:
    """Who asks us to end (SIGTERM, SIGHUP) asks the program, with its own signal; it is killed when it does not in time.

    :param number: the signal that the program wants to be asked with
    :param seconds: how long it has
    """
    timers: list[threading.Timer] = []

    def stop(*_: Any) -> None:
        process.signal(number)
        timers.append(threading.Timer(seconds, process.kill))
        timers[-1].daemon = True
        timers[-1].start()

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, old)
        for timer in timers:
            timer.cancel()
