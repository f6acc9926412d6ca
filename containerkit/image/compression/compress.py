"""Compress in blocks of a fixed size, several at once, so that the result does not depend on the number of processors.

No stream of ours is denser than `DENSEST`, for a reader may take a denser one for a bomb: half a percent of it is not compressed.

:see: rfc1952, rfc8878
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable

from ..errors import Unsupported
from . import gzip_streams, zstd_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Block", "Compressor"]

Block = bytes | bytearray  # a bytearray that does not change any more stands for bytes
DENSEST = 200  # bytes for each compressed one: below `Limits.ratio`
PERIOD = 32 << 20  # bytes between two looks at the density of zstd's output
WORKERS = max(2, min(8, os.cpu_count() or 2))


class Compressor:
    """Compresses blocks, several at once, and writes them in their order.

    :param write: a function that takes the compressed bytes
    :param compression: "none", "gzip" or "zstd"
    :param level: the level, as gzip or zstd counts it; gzip above 3 always goes through zlib
    :param seen: a function that is called with each block, in order, in a thread of its own
    """

    def __init__(
        self, write: Callable[[Block], object], compression: str = "gzip", *, level: int | None = None,
        seen: Callable[[Block], object] = lambda block: None,
    ) -> None:  # fmt: skip
        from concurrent.futures import ThreadPoolExecutor

        if compression not in ("none", "gzip", "zstd"):
            raise Unsupported(f"no layer is compressed with {compression!r}: there are none, gzip and zstd")
        self._write, self._seen, self._crc, self._size = write, seen, 0, 0
        self._pending: deque[tuple[Future[Block], Future[None]]] = deque()
        self._coder: _Coder = {"none": _Plain, "gzip": _Gzip, "zstd": _Zstd}[compression](level)
        self._looks = ThreadPoolExecutor(1, "containerkit-hash")
        self._workers = ThreadPoolExecutor(self._coder.workers, "containerkit-compress")
        self._write(self._coder.head)

    def feed(self, block: Block) -> None:
        """Take one block, which must not change afterwards.  For the same result feed blocks of the same size."""
        self._pending.append((self._workers.submit(self._coder.block, block), self._looks.submit(self._look, block)))
        while len(self._pending) > 2 * WORKERS:
            self._one()

    def close(self) -> None:
        """Write the end."""
        try:
            while self._pending:
                self._one()
            self._write(self._coder.tail(self._crc, self._size))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End the threads; the written stream is incomplete."""
        self._workers.shutdown(cancel_futures=True)
        self._looks.shutdown(cancel_futures=True)

    def _look(self, block: Block) -> None:
        self._seen(block)
        self._crc, self._size = self._coder.crc(block, self._crc), self._size + len(block)

    def _one(self) -> None:
        packed, looked = self._pending.popleft()
        self._write(packed.result())
        looked.result()


class _Plain:
    """No compression."""

    workers, head = 1, b""

    def __init__(self, level: int | None) -> None:
        pass

    def block(self, block: Block) -> Block:
        return block

    def crc(self, block: Block, before: int) -> int:
        return 0

    def tail(self, crc: int, size: int) -> bytes:
        return b""


class _Gzip(_Plain):
    """One member made of blocks that do not look back at each other."""

    workers, head = WORKERS, gzip_streams.HEADER

    def __init__(self, level: int | None) -> None:
        self._level = 1 if level is None else level
        self._library = (gzip_streams.isal("isal_zlib") if self._level <= 3 else None) or zlib

    def block(self, block: Block) -> Block:
        packed = self._packed(block)
        if len(packed) * DENSEST >= len(block):
            return packed
        coder, plain = zlib.compressobj(0, zlib.DEFLATED, -15), len(block) // DENSEST
        return coder.compress(block[:plain]) + coder.flush(zlib.Z_SYNC_FLUSH) + self._packed(block[plain:])

    def _packed(self, block: Block) -> bytes:
        coder = self._library.compressobj(self._level, zlib.DEFLATED, -15)
        return bytes(coder.compress(block) + coder.flush(zlib.Z_SYNC_FLUSH))

    def crc(self, block: Block, before: int) -> int:
        return int(self._library.crc32(block, before))

    def tail(self, crc: int, size: int) -> bytes:
        return b"\x03\0" + crc.to_bytes(4, "little") + (size % (1 << 32)).to_bytes(4, "little")


class _Zstd(_Plain):
    """One frame; the library has threads of its own.  A frame that becomes too dense is ended, and followed by one without data."""

    def __init__(self, level: int | None) -> None:
        self._library = zstd_streams.library()
        self._maker = self._library.ZstdCompressor(level=3 if level is None else level, threads=WORKERS)
        self._coder, self._came, self._went, self._next = self._maker.compressobj(), 0, 0, PERIOD

    def block(self, block: Block) -> Block:
        packed = bytes(self._coder.compress(block))
        self._came += len(block)
        if self._came >= self._next:
            packed += self._looked(len(packed))
        self._went += len(packed)
        return packed

    def _looked(self, count: int) -> bytes:
        """Return the bytes that have to follow `count` more bytes."""
        self._next = self._came + PERIOD
        more = bytes(self._coder.flush(self._library.COMPRESSOBJ_FLUSH_BLOCK))
        if (self._went + count + len(more)) * DENSEST >= self._came:
            return more
        more += bytes(self._coder.flush())
        self._coder = self._maker.compressobj()
        padding: bytes = zstd_streams.empty(self._came // DENSEST - self._went - count - len(more))
        return more + padding

    def tail(self, crc: int, size: int) -> bytes:
        return bytes(self._coder.flush())


_Coder = _Plain
