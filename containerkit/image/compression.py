"""What a layer's bytes become: none, gzip, zstd.

    with Decompressed(stream, "gzip") as tar: tar.read(CHUNK)     # the magic must say the same
    Compressor(write, "gzip")                                     # .feed(block) ... .close()

gzip goes through `isal` where that is installed, which is several times faster, and else through zlib.  Writing uses all
processors: blocks of a fixed size are compressed on their own, so the result does not depend on how many processors there were.
It does depend on the library: the digest of the tar is what stays the same everywhere.
:see: rfc1952, rfc8878
"""

from __future__ import annotations

import os
import queue
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from . import _zstd, media
from .digest import CHUNK, Readable
from .errors import InvalidLayer, Mismatch, Unsupported
from .limits import Limits

__all__ = ["Ahead", "Compressor", "Decompressed"]

Block = bytes | bytearray  # a bytearray that nobody changes any more stands for bytes
INPUT, OUTPUT = 1 << 16, 1 << 18  # small enough to stay in the processor's cache
GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
WORKERS = max(2, min(8, os.cpu_count() or 2))
CUT = "the gzip stream is cut short"


def _isal(name: str) -> Any:
    """A module of isal, or None where it is not installed."""
    try:
        import isal  # noqa: F401
        from isal import igzip_lib, isal_zlib
    except ImportError:
        return None
    return {"igzip_lib": igzip_lib, "isal_zlib": isal_zlib}[name]


# Reading ---------------------------------------------------------------------------------------------------------


class Decompressed:
    """Reads what a compressed stream becomes.  `read` gives CHUNK bytes at most, and no more than were asked for.

    :param stream: the bytes as they are stored
    :param expected: "none", "gzip" or "zstd": what they are said to be; "" takes the magic's word
    :raises Mismatch: the magic says something else;  :raises Unsupported: another compression
    :raises InvalidLayer: while reading: damaged, cut short or followed by something else
    :raises LimitExceeded: while reading: it becomes too large
    """

    def __init__(self, stream: Readable, expected: str = "", *, limits: Limits | None = None) -> None:
        self._input, self._limits, self._count, self._rest = _Counted(stream), limits or Limits(), 0, memoryview(b"")
        head = b""
        while len(head) < 6 and (more := self._input.read(6 - len(head))):
            head += more
        self._input.head = head
        self.compression = media.sniff(head)
        if expected and self.compression != expected:
            raise Mismatch("compression of a layer", expected, self.compression)
        self._pieces = self._decoder()

    def _decoder(self) -> Iterator[bytes]:
        if self.compression == "none":
            return iter(lambda: self._input.read(CHUNK), b"")
        if self.compression == "gzip":
            return _gunzip(self._input, self._limits)
        if self.compression == "zstd":
            return _zstd.pieces(self._input, self._limits)
        raise Unsupported(f"a layer compressed with {self.compression}: there are none, gzip and zstd")

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while not self._rest and size:
            data = next(self._pieces, None)
            if data is None:
                return b""
            self._count += len(data)
            if self.compression != "none":
                self._limits.check_ratio(self._count, self._input.count)
            if len(data) <= size and data:
                return data
            self._rest = memoryview(data)
        piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return piece


class _Counted:
    """Counts what is read, and gives the first bytes, which were looked at, once more."""

    def __init__(self, stream: Readable) -> None:
        self._stream, self.count, self.head = stream, 0, b""

    def read(self, size: int = -1, /) -> bytes:
        if self.head:
            data, self.head = self.head, b""
            return data
        data = self._stream.read(size)
        self.count += len(data)
        return data


class _Inflate:
    """zlib with the interface of isal's decompressor."""

    def __init__(self) -> None:
        self._inner, self.needs_input = zlib.decompressobj(31), True

    def decompress(self, data: bytes, most: int) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail or data, most)
        self.needs_input = not self._inner.unconsumed_tail and len(piece) < most
        return piece

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _gunzip(stream: Readable, limits: Limits) -> Iterator[bytes]:
    """One or more members; zeros may follow them, as tapes have them."""
    igzip = _isal("igzip_lib")
    wrong: tuple[type[Exception], ...] = (zlib.error, EOFError, *((igzip.IsalError,) if igzip else ()))
    data, members = stream.read(INPUT), 0
    while data:
        limits.check("entries", members := members + 1, "members of a gzip stream", "of them")
        member = igzip.IgzipDecompressor(flag=igzip.DECOMP_GZIP) if igzip else _Inflate()
        try:
            yield from _member(member, data, stream)
        except wrong as error:
            raise InvalidLayer(f"not gzip: {error}") from None
        data = member.unused_data or stream.read(INPUT)
        if len(data) == 1:
            data += stream.read(INPUT)
        if not data.startswith(GZIP_HEADER[:2]):
            while data:
                if data.strip(b"\0"):
                    raise InvalidLayer("the gzip stream is followed by something else")
                data = stream.read(INPUT)


def _member(member: Any, data: bytes, stream: Readable) -> Iterator[bytes]:
    while True:
        piece = member.decompress(data, OUTPUT)
        if piece:
            yield piece
        if member.eof:
            return
        data = stream.read(INPUT) if member.needs_input else b""
        if member.needs_input and not data:
            raise InvalidLayer(CUT)


class Ahead:
    """Reads a stream in a thread of its own, so that reading, hashing and decompressing go on while the caller works.

    :param stream: what to read; nobody else may, until this is closed
    :param depth: how many chunks to be ahead at most
    """

    def __init__(self, stream: Readable, depth: int = 4) -> None:
        self._stream, self._queue = stream, queue.Queue[bytes | BaseException](depth)
        self._stop, self._rest, self._fault = threading.Event(), memoryview(b""), None
        self._done = False
        self._thread = threading.Thread(target=self._run, name="containerkit-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last: bytes | BaseException = b""
        try:
            while not self._stop.is_set() and (data := self._stream.read(CHUNK)):
                self._queue.put(data)
        except BaseException as error:  # the reader raises it
            last = error
        self._queue.put(last)

    def read(self, size: int = -1, /) -> bytes:
        """What comes next, at most `size` bytes.  Raises what reading the stream raised, where it was raised."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if not self._rest:
            if self._done or not size:
                return b""
            item = self._queue.get()
            if not isinstance(item, bytes) or not item:
                self._done = True
                if isinstance(item, BaseException):
                    raise item
                return b""
            if len(item) <= size:
                return item
            self._rest = memoryview(item)
        piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return piece

    def close(self) -> None:
        """Ends the thread.  The stream is the caller's again."""
        self._stop.set()
        while (not self._done and self._thread.is_alive()) or not self._queue.empty():
            try:
                item = self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
            self._done = not isinstance(item, bytes) or not item
        self._thread.join()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()


# Writing ---------------------------------------------------------------------------------------------------------


class Compressor:
    """Compresses blocks, several at once, and writes them in their order.

    :param write: takes what comes out
    :param compression: "none", "gzip" or "zstd"
    :param level: how hard to try, in the words of gzip or zstd; gzip above 3 always goes through zlib
    :param seen: is called with each block, in order, in a thread of its own
    """

    def __init__(
        self, write: Callable[[Block], object], compression: str = "gzip", *, level: int | None = None,
        seen: Callable[[Block], object] = lambda block: None,
    ) -> None:  # fmt: skip
        if compression not in ("none", "gzip", "zstd"):
            raise Unsupported(f"no layer is compressed with {compression!r}: there are none, gzip and zstd")
        self._write, self._seen, self._crc, self._size = write, seen, 0, 0
        self._pending: deque[tuple[Future[Block], Future[None]]] = deque()
        self._coder: _Coder = {"none": _Plain, "gzip": _Gzip, "zstd": _Zstd}[compression](level)
        self._looks = ThreadPoolExecutor(1, "containerkit-hash")
        self._workers = ThreadPoolExecutor(self._coder.workers, "containerkit-compress")
        self._write(self._coder.head)

    def feed(self, block: Block) -> None:
        """Take one block, which is not to be changed any more.  For the same result feed blocks of the same size."""
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
        """End the threads; what was written is not whole."""
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

    workers, head = WORKERS, GZIP_HEADER

    def __init__(self, level: int | None) -> None:
        self._level = 1 if level is None else level
        self._library = (_isal("isal_zlib") if self._level <= 3 else None) or zlib

    def block(self, block: Block) -> Block:
        coder = self._library.compressobj(self._level, zlib.DEFLATED, -15)
        return bytes(coder.compress(block) + coder.flush(zlib.Z_SYNC_FLUSH))

    def crc(self, block: Block, before: int) -> int:
        return int(self._library.crc32(block, before))

    def tail(self, crc: int, size: int) -> bytes:
        return b"\x03\0" + crc.to_bytes(4, "little") + (size % (1 << 32)).to_bytes(4, "little")


class _Zstd(_Plain):
    """One frame; the library has threads of its own."""

    def __init__(self, level: int | None) -> None:
        self._coder = _zstd.library().ZstdCompressor(level=3 if level is None else level, threads=WORKERS).compressobj()

    def block(self, block: Block) -> Block:
        return bytes(self._coder.compress(block))

    def tail(self, crc: int, size: int) -> bytes:
        return bytes(self._coder.flush())


_Coder = _Plain
