"""The compression of a layer: none, gzip, zstd.

    with Decompressed(stream, "gzip") as tar: tar.read(CHUNK)     # the magic must say the same
    Compressor(write, "gzip")                                     # .feed(block) ... .close()

gzip goes through `isal` where that is installed, which is several times faster, and else through zlib.  Writing uses all
processors: blocks of a fixed size are compressed on their own, so the result does not depend on how many processors there were.
It does depend on the library: only the digest of the tar is the same everywhere.
:see: rfc1952, rfc8878
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import media
from ..digest import CHUNK, Readable
from ..errors import Mismatch, Unsupported
from ..limits import Limits
from . import gzip_streams, lzma_streams, zstd_streams
from .compress import Block, Compressor

__all__ = ["Block", "Compressor", "Decompressed"]


class Decompressed:
    """Decompresses a stream.  `read` returns CHUNK bytes at most, and no more than were asked for.

    :param stream: the bytes as they are stored
    :param expected: "none", "gzip" or "zstd": the compression that is declared; "" takes the magic's word, which may be xz or bzip2 too: an
        archive and a tar may be, a layer is not
    :raises Mismatch: the magic says something else;  :raises Unsupported: another compression
    :raises InvalidLayer: while reading: damaged, cut short or followed by something else
    :raises LimitExceeded: while reading: it becomes too large
    """

    def __init__(self, stream: Readable, expected: str = "", *, limits: Limits | None = None) -> None:
        self._input, self._limits, self._count, self._rest = _Counted(stream), limits or Limits.default(), 0, memoryview(b"")
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
            return gzip_streams.pieces(self._input, self._limits)
        if self.compression == "zstd":
            return zstd_streams.pieces(self._input, self._limits)
        if self.compression in ("xz", "bzip2"):
            return lzma_streams.pieces(self._input, self._limits, self.compression)
        raise Unsupported(f"a stream compressed with {self.compression}: there are none, gzip, zstd, xz and bzip2")

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
    """Counts the bytes that are read, and returns the first ones, which were looked at, once more."""

    def __init__(self, stream: Readable) -> None:
        self._stream, self.count, self.head = stream, 0, b""

    def read(self, size: int = -1, /) -> bytes:
        if self.head:
            data, self.head = self.head, b""
            return data
        data = self._stream.read(size)
        self.count += len(data)
        return data
