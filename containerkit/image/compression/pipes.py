"""Bytes from one thread to another, a few at a time, so that reading, hashing, decompressing and writing go on at once.

Pipe()                       feed(data) in one thread, read() in another; an error on either side ends the other
ReadAhead(stream)            reads a stream in a thread of its own
Verified(stream, digest)     passes a stream on, and hashes it in a thread of its own
"""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import TypeVar

from ..digest import CHUNK, Digest, Readable
from ..errors import Mismatch

__all__ = ["Pipe", "ReadAhead", "Verified"]

DEPTH = 8  # pieces
T = TypeVar("T", bound="_Closing")


class Pipe:
    """A bounded queue of bytes with two ends.

    :param depth: the largest number of pieces that wait
    """

    def __init__(self, depth: int = DEPTH) -> None:
        self._depth, self._pieces, self._rest = depth, deque[bytes](), memoryview(b"")
        self._changed = threading.Condition(threading.Lock())
        self._ended = self._stopped = False
        self._error: BaseException | None = None

    # --- who writes ----------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bool:
        """Put a piece in, which must not change afterwards.  Wait for room.  Return False when the reader has stopped."""
        with self._changed:
            while len(self._pieces) >= self._depth and not self._stopped:
                self._changed.wait()
            if not self._stopped:
                self._pieces.append(data)
                self._changed.notify_all()
            return not self._stopped

    def end(self, error: BaseException | None = None) -> None:
        """End the bytes.  :param error: the reader gets this instead of the end, after the pieces that wait"""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
                self._changed.notify_all()

    # --- who reads -----------------------------------------------------------------------------------------------

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size`; b"" at the end.  Raise the error that the writer ended with, at each call."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if not self._rest and size:
            piece = self._next()
            if len(piece) <= size:
                return piece
            self._rest = memoryview(piece)
        data, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return data

    def stop(self) -> None:
        """Stop reading: the writer is told with its next piece."""
        with self._changed:
            self._stopped = True
            self._pieces.clear()
            self._changed.notify_all()

    def _next(self) -> bytes:
        with self._changed:
            while not self._pieces and not self._ended and not self._stopped:
                self._changed.wait()
            if self._pieces:
                self._changed.notify_all()
                return self._pieces.popleft()
            if self._error:
                raise self._error
            return b""


class _Closing:
    """A base of classes that are closed at the end of a `with` block."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


class ReadAhead(_Closing):
    """Reads a stream in a thread of its own, so that it goes on while the caller works.

    :param stream: the stream, which no other code may read until this is closed
    :param depth: the largest number of pieces to read ahead
    """

    def __init__(self, stream: Readable, depth: int = DEPTH) -> None:
        self._stream, self._pipe = stream, Pipe(depth)
        self._thread = threading.Thread(target=self._run, name="containerkit-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while (data := self._stream.read(CHUNK)) and self._pipe.feed(data):
                pass
            self._pipe.end()
        except BaseException as error:  # the reader raises it
            self._pipe.end(error)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size`.  Raise the error that reading the stream raised, at the same position."""
        return self._pipe.read(size)

    def close(self) -> None:
        """End the thread.  The stream is the caller's again."""
        self._pipe.stop()
        self._thread.join()


class Verified(_Closing):
    """Passes a stream on, and reports its end only if all of it has the digest.  The hash is computed in a thread of its own.

    :param digest: the digest of all bytes
    :param what: the stream's name in errors
    :raises Mismatch: at the end of reading: the bytes have another digest
    """

    def __init__(self, stream: Readable, digest: Digest, what: str) -> None:
        self._stream, self._digest, self._what, self._pipe = stream, digest, what, Pipe()
        self._hasher = digest.hasher()
        self._thread = threading.Thread(target=self._run, name="containerkit-hash", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while data := self._pipe.read(CHUNK):
            self._hasher.update(data)

    def read(self, size: int = -1, /) -> bytes:
        if data := self._stream.read(size):
            self._pipe.feed(data)
        elif size:
            self.close()
            if (found := Digest.finish(self._hasher)) != self._digest:
                raise Mismatch(f"digest of {self._what}", self._digest, found)
        return data

    def close(self) -> None:
        """End the thread.  The stream is the caller's again."""
        self._pipe.end()
        self._thread.join()
