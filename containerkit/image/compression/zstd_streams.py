"""Reading zstd a block at a time: the output of one step is bounded, and a stream that is cut short is noticed.

The library takes the end of its input for the end of the data, so this module looks up where a frame ends.
:see: rfc8878
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ...base import extras
from ...errors import Unavailable
from ..digest import Readable
from ..errors import InvalidLayer, Unsupported
from ..limits import Limits

MAGIC = 0xFD2FB528
CUT = "the zstd stream is cut short"
LONGEST = 1 << 31  # bytes that the library can look back
INPUT = OUTPUT = 1 << 20  # bytes of a step: with less the threads wait for each other, for one of them runs Python at a time
EMPTY = MAGIC.to_bytes(4, "little") + b"\x20\x00\x01\x00\x00"  # a frame without data


def library() -> Any:
    """Return the module zstandard.

    :raises Unavailable: it is not installed
    """
    try:
        import zstandard
    except ImportError as error:
        raise Unavailable("zstd", probed=f"import zstandard: {error}", remedy=extras.command("zstd")) from error
    return zstandard


def empty(size: int) -> bytes:
    """Return a frame without data of about so many bytes."""
    size = max(size, 0)
    return (0x184D2A50).to_bytes(4, "little") + size.to_bytes(4, "little") + bytes(size)


class _Input:
    """A stream of which exactly a number of bytes can be read.

    :ivar data, at: the bytes that were read last, and how many of them were taken
    """

    def __init__(self, stream: Readable) -> None:
        self._stream, self.data, self.at = stream, b"", 0

    def take(self, size: int, *, end_allowed: bool = False) -> bytes:
        """Return exactly `size` bytes; none at the end of the stream, where that is allowed."""
        while len(self.data) - self.at < size:
            more = self._stream.read(INPUT)
            if not more:
                if end_allowed and len(self.data) == self.at:
                    return b""
                raise InvalidLayer(CUT)
            self.data, self.at = self.data[self.at :] + more, 0
        self.at += size
        return self.data[self.at - size : self.at]

    def fill(self) -> None:
        """Make sure that `data` has a byte that was not taken.  :raises InvalidLayer: the stream is at its end"""
        if self.at == len(self.data):
            self.data, self.at = self._stream.read(INPUT), 0
        if not self.data:
            raise InvalidLayer(CUT)


class _Frame:
    """One frame, as a stream that the library reads.  It ends where the header of the frame's last block says so.

    An empty frame follows: it changes nothing where the library has all of the first one.  Where the library still waits for
    a block, it takes the empty frame for one that is too large, and refuses it.
    """

    def __init__(self, source: _Input, header: bytes, checksum: bool) -> None:
        self._source, self._before, self._after, self._checksum = source, header, EMPTY, 4 if checksum else 0
        self._left, self._header, self._last = 0, b"", False

    def read(self, size: int = -1, /) -> bytes:
        if self._before:
            data, self._before = self._before, b""
        elif self._last and not self._left:
            data, self._after = self._after, b""
        else:
            source = self._source
            source.fill()
            start, source.at = source.at, self._end(source.data, source.at)
            data = source.data[start : source.at]
        return data

    def _end(self, data: bytes, at: int) -> int:
        """Return how many of these bytes belong to the frame.  Only the headers of blocks count, which may be cut in two."""
        while True:
            at, self._left = min(at + self._left, len(data)), max(at + self._left - len(data), 0)
            if at == len(data) or self._last:
                return at
            part = data[at : at + 3 - len(self._header)]
            at, self._header = at + len(part), self._header + part
            if len(self._header) < 3:
                return at
            number, self._header = int.from_bytes(self._header, "little"), b""
            self._last = bool(number & 1)
            self._left = (1 if number >> 1 & 3 == 1 else number >> 3) + (self._checksum if self._last else 0)


def pieces(stream: Readable, limits: Limits) -> Iterator[bytes]:
    """Yield the decompressed bytes of a zstd stream of one or more frames, in pieces of 1 MiB at most.

    :raises InvalidLayer: it is not zstd, is cut short, or its checksum is wrong
    :raises Unsupported: it needs a dictionary
    :raises LimitExceeded: it needs more memory than `limits.window`
    """
    source, zstandard, frames = _Input(stream), library(), 0
    decoder = zstandard.ZstdDecompressor(max_window_size=min(max(limits.window, 1 << 10), LONGEST))
    while magic := source.take(4, end_allowed=True):
        number = int.from_bytes(magic, "little")
        limits.check("entries", frames := frames + 1, "frames of a zstd stream", "of them")
        if number & ~0xF == 0x184D2A50:
            left = int.from_bytes(source.take(4), "little")
            while left:
                left -= len(source.take(min(left, 1 << 16)))
        elif number == MAGIC:
            head, checksum = _header(source, limits)
            reader = decoder.stream_reader(_Frame(source, magic + head, checksum), read_size=INPUT)
            try:
                yield from iter(functools.partial(reader.read, OUTPUT), b"")
            except zstandard.ZstdError as error:
                raise InvalidLayer(f"not zstd: {error}") from None
        else:
            raise InvalidLayer("the zstd stream is followed by something else")


def _header(source: _Input, limits: Limits) -> tuple[bytes, bool]:
    """Return the header of a frame, and whether a checksum ends the frame."""
    flags = source.take(1)
    content, single, dictionary = flags[0] >> 6, flags[0] >> 5 & 1, flags[0] & 3
    rest = source.take((0 if single else 1) + (0, 1, 2, 4)[dictionary] + (single, 2, 4, 8)[content])
    if dictionary and any(rest[1 - single :][: (0, 1, 2, 4)[dictionary]]):
        raise Unsupported("a zstd stream that needs a dictionary")
    size = int.from_bytes(rest[-max((single, 2, 4, 8)[content], 1) :], "little") if single else _window(rest[0])
    limits.check("window", size, "the memory that a zstd stream takes")
    return flags + rest, bool(flags[0] & 4)


def _window(descriptor: int) -> int:
    base = 1 << (10 + (descriptor >> 3))
    return base + base // 8 * (descriptor & 7)
