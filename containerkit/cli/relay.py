"""Relay bytes between our standard streams and pipes of the program's own, without passing on our descriptors.

A program may open /dev/stdout only if the file is its own (nginx and httpd log so).  Our caller's streams are not ours to give
away, and a container must not hold a terminal or a file of the caller.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from collections.abc import Iterable

from ..base import late
from ..base.frozen import record
from ..core.process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

__all__ = ["relay"]

PIECE = 64 << 10
SURE = 4096  # bytes that a pipe takes without blocking once it is ready: PIPE_BUF
GONE = select.POLLNVAL | select.POLLERR


@record
class _Line:
    """One direction.

    :ivar source, target: the descriptors to read from and to write to
    :ivar stream: our end of the program's pipe, one of the two
    :ivar waiting: bytes that were read and not written yet
    """

    source: int
    target: int
    stream: IO[bytes]
    waiting: memoryview = memoryview(b"")
    open: bool = True

    @property
    def next(self) -> tuple[int, int]:
        """The descriptor that must be ready next, and the event to poll for."""
        return (self.target, select.POLLOUT) if self.waiting else (self.source, select.POLLIN)

    def ready(self, events: int) -> None:
        """Read or write one piece.  If one side has ended, close the program's pipe."""
        try:
            more = self._write(events) if self.waiting else self._read(events)
        except BlockingIOError:
            return
        except OSError:  # EPIPE: the reader is gone; EIO: our terminal is gone
            more = False
        if not more:
            self.close()

    def _read(self, events: int) -> bool:
        if events & select.POLLNVAL:
            return False
        self.waiting = memoryview(os.read(self.source, PIECE))
        return bool(self.waiting)

    def _write(self, events: int) -> bool:
        if events & GONE:
            return False
        piece = self.waiting if stat.S_ISREG(os.fstat(self.target).st_mode) else self.waiting[:SURE]
        self.waiting = self.waiting[os.write(self.target, piece) :]
        return True

    def close(self) -> None:
        """Close the program's pipe: the program sees the end of its input, or a missing reader of its output."""
        self.open, self.waiting = False, memoryview(b"")
        with contextlib.suppress(OSError):
            self.stream.close()


def relay(process: Process, end: float | None = None) -> None:
    """Relay bytes until the program has ended and all its output is written.

    Other processes may still hold the program's pipes then; their output is not waited for.

    :param end: a time of `time.monotonic`
    :raises subprocess.TimeoutExpired: the program still runs at that time
    """
    outputs = [_Line(ours.fileno(), target, ours) for ours, target in ((process.stdout, 1), (process.stderr, 2)) if ours]
    inputs = [_Line(0, process.stdin.fileno(), process.stdin)] if process.stdin else []
    while process.poll() is None:
        left = _left(end)
        if left == 0:
            raise late.subprocess.TimeoutExpired("the program", 0.0)
        _turn([*inputs, *outputs], left, process.pidfd)
    while any(line.open for line in outputs):
        busy = any(line.waiting for line in outputs)  # output is left, so wait for its reader as long as there is time
        if not _turn(outputs, _left(end) if busy else 0.0):
            return


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


def _turn(lines: Iterable[_Line], seconds: float | None, *more: int) -> bool:
    """Poll once and serve the ready lines.  Return whether one was ready within `seconds`."""
    poller, waiting = select.poll(), {line.next[0]: line for line in lines if line.open}
    for fd, line in waiting.items():
        poller.register(fd, line.next[1])
    for fd in more:
        poller.register(fd, select.POLLIN)
    found = poller.poll(None if seconds is None else seconds * 1000)
    for fd, events in found:
        if fd in waiting:
            waiting[fd].ready(events)
    return bool(found)
