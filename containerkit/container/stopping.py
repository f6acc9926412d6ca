"""How a program is asked to end, and ended when it does not.

    stopping = Stopping(signal_number("SIGQUIT"), seconds=10)
    stopping.watch(plan.spawn())
    stopping.stop()                from any thread, or a signal handler

No signal handler is set here: a program that runs containers has its own.
"""

from __future__ import annotations

import re
import signal
import threading
from typing import TYPE_CHECKING

from ..errors import PlanError

if TYPE_CHECKING:
    from ..core.process import Process

__all__ = ["Stopping", "signal_number"]


def signal_number(text: str) -> int:
    """The number of a signal: ``SIGTERM``, ``TERM``, ``15``, ``SIGRTMIN+3`` as systemd has it; SIGTERM for "".

    :raises PlanError: there is no such signal
    """
    name = text.upper().removeprefix("SIG")
    if realtime := re.fullmatch(r"RTMIN\+(\d{1,2})|RTMAX-(\d{1,2})", name, re.ASCII):
        up, down = (int(words or 0) for words in realtime.groups())
        number = signal.SIGRTMIN + up if name.startswith("RTMIN") else signal.SIGRTMAX - down
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
    try:
        return int(text) if text.isdecimal() and 0 < int(text) < signal.NSIG else int(signal.Signals[f"SIG{name or 'TERM'}"])
    except KeyError:
        raise PlanError(f"no such signal: {text!r}") from None


class Stopping:
    """Asks a program to end with the signal that it wants, and kills it when it does not end in time.

    `stop` may come before there is a program: the program is asked as soon as it is there.

    :param number: the signal
    :param seconds: how long the program has to end; None for ever
    """

    def __init__(self, number: int, seconds: float | None) -> None:
        self._number, self._seconds = number, seconds
        self._process: Process | None = None
        self._asked = False
        self._timers: list[threading.Timer] = []

    def watch(self, process: Process) -> Process:
        """From now on this is the program."""
        self._process = process
        if self._asked:
            self.stop()
        return process

    def stop(self) -> None:
        """Asks the program to end."""
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
        """The program has ended: it is killed no more."""
        for timer in self._timers:
            timer.cancel()
