"""Ask a program to end, and kill it when it does not.

    stopping = Stopping(signal_number("SIGQUIT"), seconds=10)
    stopping.watch(plan.spawn())
    stopping.stop()                from any thread, or a signal handler

No signal handler is set here: a program that runs containers has its own.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.process import Process

__all__ = ["Stopping"]


class Stopping:
    """Asks a program to end with the signal that it wants, and kills it when it does not end in time.

    `stop` may be called before there is a program: the program then gets the signal as soon as it runs.

    :param number: the signal
    :param seconds: how long the program has to end; None for ever
    """

    def __init__(self, number: int, seconds: float | None) -> None:
        self._number, self._seconds = number, seconds
        self._process: Process | None = None
        self._asked = False
        self._timers: list[threading.Timer] = []

    def watch(self, process: Process) -> Process:
        """Set the program that `stop` asks to end."""
        self._process = process
        if self._asked:
            self.stop()
        return process

    def stop(self) -> None:
        """Ask the program to end."""
        self._asked = True
        if self._process is None:
            return
        self._process.signal(self._number)
        if self._seconds is not None:
            timer = threading.Timer(self._seconds, self._process.kill)
            timer.daemon = True
            timer.start()
            self._timers.append(timer)

    def close(self) -> None:
        """Cancel the kill: the program has ended."""
        for timer in self._timers:
            timer.cancel()
