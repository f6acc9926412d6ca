"""Pressure: how much of the time tasks waited for a resource; and triggers, which wake a process when tasks waited too long.

:see: https://docs.kernel.org/accounting/psi.html
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from types import TracebackType

from ..base.frozen import frozen
from ..base.pickling import OneProcess
from ..errors import CgroupError, PlanError, Unavailable

__all__ = ["Line", "Pressure", "Trigger", "parse"]

RESOURCES = ("cpu", "memory", "io", "irq")
MICROSECONDS = 1_000_000
KEYS = ("avg10", "avg60", "avg300", "total")


@frozen
class Line:
    """The share of time that tasks waited.

    :ivar avg10, avg60, avg300: percent of the time in the last 10, 60 and 300 seconds
    :ivar total: seconds in all
    """

    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0
    total: float = 0.0


@frozen
class Pressure:
    """The waits for one resource.

    :ivar some: time in which at least one task waited
    :ivar full: time in which all tasks waited, so that none worked
    """

    some: Line = Line()
    full: Line = Line()


def parse(text: str) -> Pressure:
    """Parse lines ``some avg10=0.00 avg60=0.00 avg300=0.00 total=0``.  Skip unknown keys and lines."""
    lines: dict[str, Line] = {}
    for kind, *words in (line.split() for line in text.splitlines() if line.strip()):
        pairs: dict[str, float] = {}
        for key, _, value in (word.partition("=") for word in words):
            if key in KEYS:
                with contextlib.suppress(ValueError):
                    pairs[key] = float(value) / (MICROSECONDS if key == "total" else 1)
        lines[kind] = Line(**pairs)
    return Pressure(lines.get("some", Line()), lines.get("full", Line()))


class Trigger(OneProcess):
    """A descriptor that wakes its poller when tasks waited more than `stall` seconds within any `window` seconds.  A context manager.

    Add `fileno()` to a poller for POLLPRI to wait for several things at once.
    """

    stays = "its descriptor is open in this process alone"

    def __init__(self, path: str, stall: float, window: float, full: bool) -> None:
        """Register the trigger.

        :raises PlanError: a window outside 0.5 to 10 seconds, or a stall longer than the window
        :raises Unavailable: no such file
        :raises CgroupError: the kernel refuses
        """
        if not 0.5 <= window <= 10 or not 0 < stall <= window:
            raise PlanError(f"a window lasts 0.5 to 10 seconds and a stall fits into it: stall={stall}, window={window}")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise unavailable(path) from error
        text = f"{'full' if full else 'some'} {round(stall * MICROSECONDS)} {round(window * MICROSECONDS)}"
        try:
            os.write(self._fd, text.encode())
        except OSError as error:
            self.close()
            hint = "without CAP_SYS_RESOURCE the window must be a multiple of 2 seconds"
            raise CgroupError(error.errno, f"the kernel refuses the trigger {text!r}: {error.strerror}; {hint}", path) from error

    def fileno(self) -> int:
        """Return the descriptor to poll for POLLPRI."""
        return self._fd

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the trigger fires.  Return False when `timeout` seconds are up.  :raises CgroupError: the group is gone"""
        poller = select.poll()
        poller.register(self._fd, select.POLLPRI)
        ready = poller.poll(None if timeout is None else timeout * 1000)
        if ready and ready[0][1] & select.POLLERR:
            raise CgroupError(errno.ENODEV, "the group is gone")
        return bool(ready)

    def close(self) -> None:
        """End the watch."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Trigger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def unavailable(path: str) -> Unavailable:
    """Return the error for a missing pressure file."""
    return Unavailable("pressure (PSI)", probed=path, remedy="a kernel with CONFIG_PSI, psi=1 on its command line, and cgroup v2 mounted")
