"""Reading gzip a block at a time, through `isal` where that is installed and else through zlib.

:see: rfc1952
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from ..digest import Readable
from ..errors import InvalidLayer
from ..limits import Limits

__all__ = ["HEADER", "isal", "pieces"]

INPUT = OUTPUT = 1 << 20  # bytes of a step: with less the threads wait for each other, for one of them runs Python at a time
HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
CUT = "the gzip stream is cut short"


def isal(name: str) -> Any:
    """Return a module of isal, or None where it is not installed."""
    try:
        from isal import igzip_lib, isal_zlib
    except ImportError:
        return None
    return {"igzip_lib": igzip_lib, "isal_zlib": isal_zlib}[name]


class _Inflate:
    """A decompressor of zlib with the interface of isal's."""

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


def pieces(stream: Readable, limits: Limits) -> Iterator[bytes]:
    """Yield one or more members; zeros may follow them, as tapes have them."""
    igzip = isal("igzip_lib")
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
        if not data.startswith(HEADER[:2]):
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
