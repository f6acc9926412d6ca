"""Reading zstd a block at a time: what comes out of one step is bounded, and a stream that is cut short is noticed.

The library's own reader does neither: it takes the end of its input for the end of the data.
:see: rfc8878
"""

from __future__ import annotations

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
INPUT = 1 << 20  # bytes to read at a time
INPUT = 1 << 20  # bytes to read at a time
BLOCKS = 8  # of 128 KiB at most, in one step: with fewer the threads wait for each other, for one of them runs Python at a time


def library() -> Any:
    """The module zstandard.

    :raises Unavailable: it is not installed
    """
    try:
        import zstandard
    except ImportError as error:
        raise Unavailable("zstd", probed=f"import zstandard: {error}", remedy=extras.command("zstd")) from error
    return zstandard


def empty(size: int) -> bytes:
    """A frame without data of about so many bytes."""
    size = max(size, 0)
    return (0x184D2A50).to_bytes(4, "little") + size.to_bytes(4, "little") + bytes(size)


class _Input:
    """A stream of which exactly as many bytes as are asked for can be looked at, and taken, without a copy of their own."""

    def __init__(self, stream: Readable) -> None:
        self._stream, self._buffer = stream, memoryview(b"")

    def look(self, size: int, *, end_allowed: bool = False) -> memoryview:
        """The next `size` bytes, which stay."""
        while len(self._buffer) < size:
            more = self._stream.read(INPUT)
            if not more:
                if end_allowed and not self._buffer:
                    return self._buffer
                raise InvalidLayer(CUT)
            self._buffer = memoryview(b"".join((self._buffer, more)) if self._buffer else more)
        return self._buffer[:size]

    def take(self, size: int, *, end_allowed: bool = False) -> memoryview:
        """The next `size` bytes."""
        data = self.look(size, end_allowed=end_allowed)
        self._buffer = self._buffer[len(data) :]
        return data


def pieces(stream: Readable, limits: Limits) -> Iterator[bytes]:
    """What a zstd stream of one or more frames becomes, 1 MiB at most each.

    :raises InvalidLayer: it is not zstd, is cut short, or its checksum is wrong
    :raises Unsupported: it needs a dictionary
    :raises LimitExceeded: it needs more memory than `limits.window`
    """
    source, zstandard = _Input(stream), library()
    frames = 0
    while magic := source.take(4, end_allowed=True):
        number = int.from_bytes(magic, "little")
        limits.check("entries", frames := frames + 1, "frames of a zstd stream", "of them")
        if number & ~0xF == 0x184D2A50:
            left = int.from_bytes(source.take(4), "little")
            while left:
                left -= len(source.take(min(left, 1 << 16)))
        elif number == MAGIC:
            decoder = zstandard.ZstdDecompressor(max_window_size=min(max(limits.window, 1 << 10), LONGEST)).decompressobj(BLOCKS << 17)
            try:
                yield from _frame(source, decoder, magic, limits)
            except zstandard.ZstdError as error:
                raise InvalidLayer(f"not zstd: {error}") from None
        else:
            raise InvalidLayer("the zstd stream is followed by something else")


def _frame(source: _Input, decoder: Any, magic: memoryview, limits: Limits) -> Iterator[bytes]:
    head, checksum = _header(source, limits)
    yield from filter(None, [decoder.decompress(bytes(magic) + head)])
    last = 0
    while not last:
        size = blocks = 0
        while not last and blocks < BLOCKS:
            number, blocks = int.from_bytes(source.look(size + 3)[size:], "little"), blocks + 1
            last, kind = number & 1, number >> 1 & 3
            size += 3 + (1 if kind == 1 else number >> 3)
        data = decoder.decompress(source.take(size + (4 if last and checksum else 0)))
        if data:
            yield data
    if not decoder.eof:
        raise InvalidLayer(CUT)


def _header(source: _Input, limits: Limits) -> tuple[bytes, bool]:
    """The header of a frame, and whether a checksum ends the frame."""
    flags = bytes(source.take(1))
    content, single, dictionary = flags[0] >> 6, flags[0] >> 5 & 1, flags[0] & 3
    rest = bytes(source.take((0 if single else 1) + (0, 1, 2, 4)[dictionary] + (single, 2, 4, 8)[content]))
    if dictionary and any(rest[1 - single :][: (0, 1, 2, 4)[dictionary]]):
        raise Unsupported("a zstd stream that needs a dictionary")
    size = int.from_bytes(rest[-max((single, 2, 4, 8)[content], 1) :], "little") if single else _window(rest[0])
    limits.check("window", size, "the memory that a zstd stream takes")
    return flags + rest, bool(flags[0] & 4)


def _window(descriptor: int) -> int:
    base = 1 << (10 + (descriptor >> 3))
    return base + base // 8 * (descriptor & 7)
