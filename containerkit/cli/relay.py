"""Our standard streams and the program's, which are pipes of its own: bytes are passed on, descriptors are not.

A program may open /dev/stdout only where the file is its own (nginx and httpd log so).  What our caller gave us is not ours
to give away; and a terminal or a file of the caller's is nothing for the inside of a container.
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

    :ivar source, target: where bytes come from, and where they go
    :ivar stream: our end of the program's pipe, which is one of the two
    :ivar waiting: what was read and not written yet
    """

    source: int
    target: int
    stream: IO[bytes]
    waiting: memoryview = memoryview(b"")
    open: bool = True

    @property
    def next(self) -> tuple[int, int]:
        """The descriptor that has to be ready next, and for what."""
        return (self.target, select.POLLOUT) if self.waiting else (self.source, select.POLLIN)

    def ready(self, events: int) -> None:
        """Reads or writes one piece.  Where one side has ended, the program's pipe is closed."""
        try:
            more = self._write(events) if self.waiting else self._read(events)
        except BlockingIOError:
            return
        except OSError:  # EPIPE: nobody reads; EIO: our terminal is gone
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
        """For the program, the line ends: its input is at the end, or nobody reads its output."""
        self.open, self.waiting = False, memoryview(b"")
        with contextlib.suppress(OSError):
            self.stream.close()


def relay(process: Process, end: float | None = None) -> None:
    """Passes on what goes through the program's pipes until it has ended and all it wrote is passed on.

    What others still write then, who have its pipes too, is not waited for.

    :param end: a time of `time.monotonic`
    :raises subprocess.TimeoutExpired: it still runs then
    """
    outputs = [_Line(ours.fileno(), target, ours) for ours, target in ((process.stdout, 1), (process.stderr, 2)) if ours]
    inputs = [_Line(0, process.stdin.fileno(), process.stdin)] if process.stdin else []
    while process.poll() is None:
        left = _left(end)
        if left == 0:
            raise late.subprocess.TimeoutExpired("the program", 0.0)
        _turn([*inputs, *outputs], left, process.pidfd)
    while any(line.open for line in outputs):
        busy = any(line.waiting for line in outputs)  # then for who reads our output, as long as there is time
        if not _turn(outputs, _left(end) if busy else 0.0):
            return


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


def _turn(lines: Iterable[_Line], seconds: float | None, *more: int) -> bool:
    """Whether something was ready in so many seconds."""
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
