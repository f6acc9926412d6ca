"""Reading xz, the older lzma, and bzip2 a piece at a time: the output of one step is bounded, and so is the memory.

:see: https://tukaani.org/xz/xz-file-format.txt;  bzip2(1)
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator

from ..digest import Readable
from ..errors import InvalidLayer, LimitExceeded
from ..limits import Limits

__all__ = ["pieces"]

INPUT, OUTPUT = 1 << 16, 1 << 19  # bytes of a step
MEMORY = "memory usage limit"  # liblzma's words where it may not take so much
EXTRA = 8 << 20  # bytes that liblzma takes besides the dictionary
MOST = (1 << 63) - 1

_Decoder = lzma.LZMADecompressor | bz2.BZ2Decompressor


def pieces(stream: Readable, limits: Limits, kind: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of one or more streams; zeros may follow them.

    :param kind: "xz", which the older lzma counts as, or "bzip2"
    :raises InvalidLayer: it is damaged, cut short or followed by something else
    :raises LimitExceeded: xz needs more memory than `limits.window` for its dictionary
    """
    most = limits.window + EXTRA
    make: Callable[[], _Decoder] = bz2.BZ2Decompressor if kind == "bzip2" else lambda: lzma.LZMADecompressor(memlimit=min(most, MOST))
    data, streams = stream.read(INPUT), 0
    while data:
        limits.check("entries", streams := streams + 1, f"streams of {kind}", "of them")
        decoder = make()
        try:
            yield from _stream(decoder, data, stream)
        except lzma.LZMAError as error:
            if MEMORY in str(error).lower():
                raise LimitExceeded(f"the memory that {kind} takes", limits.window, setting="Limits.window") from None
            raise InvalidLayer(f"not {kind}: {error}") from None
        except (OSError, ValueError, EOFError) as error:
            raise InvalidLayer(f"not {kind}: {error}") from None
        data = (decoder.unused_data or stream.read(INPUT)).lstrip(b"\0")
        while not data and (more := stream.read(INPUT)):
            data = more.lstrip(b"\0")


def _stream(decoder: _Decoder, data: bytes, stream: Readable) -> Iterator[bytes]:
    while True:
        if piece := decoder.decompress(data, OUTPUT):
            yield piece
        if decoder.eof:
            return
        data = stream.read(INPUT) if decoder.needs_input else b""
        if decoder.needs_input and not data:
            raise InvalidLayer("the compressed stream is cut short")
