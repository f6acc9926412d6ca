"""Asking a program to end, and ending it when it does not."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from ..core.process import Process

__all__ = ["Stopping"]

ASKED = (signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """Who asks us to end (SIGTERM, SIGHUP) asks the program, with its own signal; it is killed when it does not end in time.

    Enter it before there is a program, so that nothing that is asked is lost.

    :param number: the signal that the program wants to be asked with
    :param seconds: how long it has
    """

    def __init__(self, number: int, seconds: float) -> None:
        self._number, self._seconds = number, seconds
        self._process: Process | None = None
        self._asked = False
        self._timers: list[threading.Timer] = []

    def watch(self, process: Process) -> Process:
        """From now on this is the program."""
        self._process = process
        if self._asked:
            self._stop()
        return process

    def _stop(self, *_: int | FrameType | None) -> None:
        self._asked = True
        if self._process is None:
            return
        self._process.signal(self._number)
        timer = threading.Timer(self._seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def __enter__(self) -> Stopping:
        self._before = {number: signal.signal(number, self._stop) for number in ASKED}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        for number, old in self._before.items():
            signal.signal(number, old)
        for timer in self._timers:
            timer.cancel()
