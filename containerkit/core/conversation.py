"""Talking with a program: its input is written and its outputs are read at the same time, so that neither side can block the other.

The output goes to a sink, a function that takes each piece.  `Collected` is the usual one: it keeps a bounded number of bytes.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence

from ..base import late
from ..errors import PlanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Literal

    OverLimit = Literal["drain", "kill"]

__all__ = ["OUTPUT_LIMIT", "Collected", "Conversation", "TooMuchOutput", "checked_limit"]

#: The bytes of one stream that are kept unless the caller says otherwise.
OUTPUT_LIMIT = 64 << 20
PIECE = 64 << 10  # bytes of one read(2) or write(2)

"""The reaction to a stream that is longer than the limit: read on and drop it, or kill the program."""
Sink = Callable[[bytes], object]


class TooMuchOutput(Exception):
    """A stream went over its limit, and the caller wants the program killed for that."""


def checked_limit(limit: int | None, over_limit: OverLimit) -> None:
    """:raises PlanError: the limit is no number of bytes, or `over_limit` is neither "drain" nor "kill" """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise PlanError(f"output_limit is a number of bytes, or None for no limit, not {limit!r}")
    if over_limit not in ("drain", "kill"):
        raise PlanError(f'over_limit is "drain" or "kill", not {over_limit!r}')


class Collected:
    """A sink that keeps the first `limit` bytes and drops the rest.

    :param limit: bytes; None keeps everything
    :param over_limit: "kill" raises `TooMuchOutput` at the first byte that is dropped
    :ivar truncated: whether something was dropped
    """

    def __init__(self, limit: int | None = OUTPUT_LIMIT, over_limit: OverLimit = "drain") -> None:
        checked_limit(limit, over_limit)
        self.truncated = False
        self._limit, self._over_limit, self._kept = limit, over_limit, io.BytesIO()

    def __call__(self, piece: bytes) -> None:
        room = len(piece) if self._limit is None else self._limit - self._kept.tell()
        self._kept.write(piece if len(piece) <= room else piece[:room])
        if len(piece) > room:
            self.truncated = True
            if self._over_limit == "kill":
                raise TooMuchOutput

    def value(self) -> bytes:
        """Return the kept bytes.  The buffer is handed over rather than copied, so that memory is not needed twice."""
        return self._kept.getvalue()


class Conversation:
    """One exchange with a program.  `run` is the loop for threads; event loops call `streams` and `ready`.

    :param writer: the program's standard input, or None
    :param readers: the program's outputs, each with the sink that takes its bytes
    :param data: the bytes to write; then the input is closed
    """

    def __init__(self, writer: IO[bytes] | None, readers: Sequence[tuple[IO[bytes] | None, Sink]], data: bytes) -> None:
        self._data = memoryview(data).cast("B")
        self._sinks: dict[int, Sink] = {}
        self._open: dict[int, IO[bytes]] = {}
        if writer and not writer.closed:
            self._add(writer) if data else _close(writer)
        self._writer = writer.fileno() if writer and not writer.closed else -1
        for reader, sink in readers:
            if reader and not reader.closed:
                self._add(reader)
                self._sinks[reader.fileno()] = sink

    def _add(self, stream: IO[bytes]) -> None:
        """Add a stream, and make our end non-blocking.  The program's end is another open file, which still blocks."""
        os.set_blocking(stream.fileno(), False)
        self._open[stream.fileno()] = stream

    def streams(self) -> Mapping[int, bool]:
        """Return the descriptors that are still open, and whether each is one to write to."""
        return {fd: fd == self._writer for fd in self._open}

    def begin(self) -> None:
        """Take what a buffered reader had read ahead before this conversation began."""
        for fd, sink in self._sinks.items():
            if ahead := self._open[fd].peek():  # type: ignore[attr-defined]
                sink(self._open[fd].read1(len(ahead)))  # type: ignore[attr-defined]

    def ready(self, fd: int) -> bool:
        """Read or write one piece.  Return whether this stream is done with: then `finish` it.

        :raises Exception: what a sink raised
        """
        return self._write(fd) if fd == self._writer else self._read(fd)

    def finish(self, fd: int) -> None:
        """Close a stream, for which no loop may wait any more."""
        _close(self._open.pop(fd))

    def _read(self, fd: int) -> bool:
        try:
            piece = os.read(fd, PIECE)
        except BlockingIOError:
            return False
        if piece:
            self._sinks[fd](piece)
        return not piece

    def _write(self, fd: int) -> bool:
        try:
            self._data = self._data[os.write(fd, self._data[:PIECE]) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True
        return not self._data

    def run(self, end: float | None) -> None:
        """Go on until every stream is done with.

        :param end: a time of `time.monotonic`
        :raises subprocess.TimeoutExpired: `end` came first
        """

        self.begin()
        poller = select.poll()
        for fd, writes in self.streams().items():
            poller.register(fd, select.POLLOUT if writes else select.POLLIN)
        while self._open:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise late.subprocess.TimeoutExpired("the program", 0.0)
            for fd, _ in poller.poll(None if left is None else math.ceil(left * 1000)):
                if self.ready(fd):
                    poller.unregister(fd)
                    self.finish(fd)


def _close(stream: IO[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):
        stream.close()
