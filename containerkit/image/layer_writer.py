"""Making the blob of a layer: compressed, and hashed twice, in one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from . import media
from .blobs import FileBlobs, MemoryBlobs
from .compression.compression import Block, Compressor, Decompressed
from .descriptor import Descriptor
from .digest import CHUNK, Digest, Readable
from .limits import Limits

__all__ = ["Feed", "Store", "from_tar", "written"]

Store = FileBlobs | MemoryBlobs
Feed = Callable[[Block], object]
Made = tuple[Descriptor, Digest]


class _Sink(Protocol):
    """The file that takes the bytes of a new blob."""

    def write(self, data: bytes, /) -> object: ...

    def commit(self, media_type: str) -> Descriptor: ...


def written(write: Callable[[Feed], object], blobs: Store, compression: str, level: int | None = None) -> Made:
    """Return the descriptor and the diff_id of what `write` writes."""
    import hashlib

    hasher = hashlib.sha256()
    with _writer(blobs) as sink:
        compressor = Compressor(_write_to(sink), compression, level=level, seen=hasher.update)
        try:
            write(compressor.feed)
            compressor.close()
        finally:
            compressor.abandon()
        descriptor = sink.commit(media.layer(compression))
    return descriptor, Digest.finish(hasher)


def from_tar(stream: Readable, blobs: Store, compression: str, limits: Limits | None) -> Made:
    """Return the descriptor and the diff_id of a tar.  A compressed tar keeps its bytes, unless layers must not be compressed that way."""
    import hashlib

    head = b""
    while len(head) < 6 and (more := stream.read(6 - len(head))):
        head += more
    whole = _Joined(head, stream)
    if (found := media.sniff(head)) == "none":
        return written(lambda sink: _copy(whole, sink), blobs, compression)
    if found in ("xz", "bzip2"):  # no layer has this compression: the tar is compressed anew
        plain = Decompressed(whole, limits=limits)
        return written(lambda sink: _copy(plain, sink), blobs, compression)
    hasher = hashlib.sha256()
    with _writer(blobs) as sink:
        tee = _Tee(whole, sink)
        tar = Decompressed(tee, found, limits=limits)
        while data := tar.read(CHUNK):
            hasher.update(data)
        while tee.read(CHUNK):
            pass
        descriptor = sink.commit(media.layer(found))
    return descriptor, Digest.finish(hasher)


class _Joined:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            data, self._head = self._head, b""
            return data
        return self._stream.read(size)


class _Tee:
    """Keeps the bytes that are read."""

    def __init__(self, stream: Readable, sink: _Sink) -> None:
        self._stream, self._sink = stream, sink

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        if data:
            self._sink.write(data)
        return data


class _Memory:
    """A blob in memory, being written."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs, self._data = blobs, bytearray()

    def write(self, data: bytes, /) -> None:
        self._data += data

    def commit(self, media_type: str) -> Descriptor:
        return self._blobs.add(bytes(self._data), media_type)


def _write_to(sink: _Sink) -> Feed:
    return sink.write  # type: ignore[return-value]  # a bytearray is bytes to a function that only reads it


@contextlib.contextmanager
def _writer(blobs: Store) -> Iterator[_Sink]:
    if isinstance(blobs, MemoryBlobs):
        yield _Memory(blobs)
    else:
        with blobs.writer() as writer:
            yield writer


def _copy(stream: Readable, sink: Callable[[Block], object]) -> None:
    """Copy in blocks of one size, independent of the stream's reads: the compressed bytes depend on the block size."""
    block = bytearray()
    while data := stream.read(CHUNK):
        block += data
        while len(block) >= CHUNK:
            sink(block[:CHUNK])
            del block[:CHUNK]
    sink(block)
