"""A layer: the tar of one change, by its digest compressed and by its diff_id not.

    layer = Layer.from_directory("root", blobs)         # compressed, both digests, in one pass
    layer.unpack("layers/1")                            # appears whole or not at all
    with layer.uncompressed() as tar: ...               # every stream is verified while it is read

:see: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

from ..program import extension, number
from . import _root, diff, media
from ._ahead import Ahead, Checked
from .blobs import Blobs, FileBlobs, MemoryBlobs
from .compression import Block, Compressor, Decompressed
from .descriptor import Descriptor
from .digest import CHUNK, Digest, Readable
from .errors import CannotUnpack, ImageError, InvalidLayer, Mismatch, Missing
from .ids import Ids
from .limits import Limits
from .tar import Entry, Reader
from .unpack import Unpacked, unpack

__all__ = ["Layer"]

StrPath = str | os.PathLike[str]
Store = FileBlobs | MemoryBlobs
Feed = Callable[[Block], object]
SPOOLED = 16 << 20


class _Sink(Protocol):
    """Where the bytes of a new blob go."""

    def write(self, data: bytes, /) -> object: ...

    def commit(self, media_type: str) -> Descriptor: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image.

    :param descriptor: of the blob, as it is stored
    :param diff_id: the digest of the tar in it
    :param blobs: where the blob is
    """

    descriptor: Descriptor
    diff_id: Digest
    blobs: Blobs

    @property
    def digest(self) -> Digest:
        """Of the blob, compressed as it is."""
        return self.descriptor.digest

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self.descriptor.size

    @property
    def media_type(self) -> str:
        """What the blob is said to be."""
        return self.descriptor.media_type

    # --- reading -------------------------------------------------------------------------------------------------

    def compressed(self) -> io.BufferedIOBase:
        """The blob's bytes, verified while they are read.  The caller closes it."""
        return self.blobs.open(self.descriptor)

    @contextlib.contextmanager
    def uncompressed(self, limits: Limits | None = None) -> Iterator[Readable]:
        """The tar.  Its last bytes come only if it, and the blob, were the right ones.

        :raises Mismatch: while reading: they were not, or the media type says another compression
        """
        with contextlib.closing(self.compressed()) as blob:
            tar = _Whole(Decompressed(blob, media.compression(self.media_type), limits=limits), blob)
            with Checked(tar, self.diff_id, f"layer {self.diff_id.short}, not compressed") as checked, Ahead(checked) as ahead:
                yield ahead

    def entries(self, limits: Limits | None = None) -> Iterator[Entry]:
        """What is in it, in the tar's order."""
        with self.uncompressed(limits) as tar:
            reader = Reader(tar, limits)
            yield from reader
            reader.drain()

    def open(self, path: str | bytes, limits: Limits | None = None) -> BinaryIO:
        """One file of it; the layer is read to its end first, and verified.

        :param path: from the root, with or without a slash before it
        :raises Missing: there is no such file in this layer, or it is none
        """
        limits = limits or Limits()
        name = _root.split(os.fsencode(path), limits)
        found = self._find(name, limits)
        if isinstance(found, tuple):
            found = self._find(found, limits)
        if found is None or isinstance(found, tuple):
            raise Missing(f"there is no file {os.fsdecode(path)!r} in layer {self.diff_id.short}")
        return found

    def _find(self, wanted: tuple[bytes, bytes], limits: Limits) -> BinaryIO | tuple[bytes, bytes] | None:
        """The last file of that name, or the name that a hard link gives instead."""
        found: BinaryIO | tuple[bytes, bytes] | None = None
        with contextlib.ExitStack() as files, self.uncompressed(limits) as tar:
            reader = Reader(tar, limits)
            for entry in reader:
                if _root.split(entry.name, limits) != wanted:
                    continue
                files.close()
                found = _root.split(entry.linkname, limits) if entry.kind == "hardlink" else None
                if entry.kind == "file":
                    found = files.enter_context(_spool(reader, entry))
            reader.drain()
            files.pop_all()
        return found

    def unpack(
        self, directory: StrPath, *, whiteouts: Literal["overlay", "plain"] = "overlay", xattrs: str = "user", ids: Ids | None = None,
        limits: Limits | None = None, skip: Collection[str] = (),
    ) -> Unpacked:  # fmt: skip
        """Makes a directory of it, which appears whole or not at all, and is on the disk when this returns.

        :param directory: must not be there; its parent must.  The other parameters are those of `unpack`.
        :raises CannotUnpack: something is there;  :raises Mismatch: these are not the layer's bytes
        """
        target = os.path.abspath(directory)
        staging = tempfile.mkdtemp(prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target))
        try:
            os.chmod(staging, 0o755)
            made = self.unpack_into(staging, whiteouts=whiteouts, xattrs=xattrs, ids=ids, limits=limits, skip=skip)
            _sync(staging)
            _rename_new(staging, target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return made

    def unpack_into(
        self, directory: StrPath, *, whiteouts: Literal["overlay", "plain"] = "plain", xattrs: str = "user", ids: Ids | None = None,
        limits: Limits | None = None, skip: Collection[str] = (),
    ) -> Unpacked:  # fmt: skip
        """Unpacks into a directory that is there, as `unpack` does.  A failure leaves it half done.

        :raises Mismatch: these are not the layer's bytes; said before anything else that is wrong because of that
        """
        with self.uncompressed(limits) as tar:
            try:
                return unpack(tar, directory, whiteouts=whiteouts, xattrs=xattrs, ids=ids, limits=limits, skip=skip)
            except InvalidLayer:
                self._check()
                raise

    def _check(self) -> None:
        """:raises Mismatch: the blob is another one"""
        with contextlib.closing(self.compressed()) as blob:
            while blob.read(CHUNK):
                pass

    # --- making --------------------------------------------------------------------------------------------------

    @classmethod
    def from_tar(cls, stream: Readable, blobs: Store | None = None, *, compression: str = "gzip", limits: Limits | None = None) -> Layer:
        """A layer of a tar.  One that is compressed already keeps its bytes.

        :param stream: the tar, read to its end
        :param blobs: where the layer is kept; in memory unless given
        :param compression: of a tar that is not compressed: "none", "gzip" or "zstd"
        :raises InvalidLayer: damaged
        """
        head = b""
        while len(head) < 6 and (more := stream.read(6 - len(head))):
            head += more
        whole = _Joined(head, stream)
        if (found := media.sniff(head)) == "none":
            return cls._made(lambda sink: _copy(whole, sink), blobs, compression)
        return cls._kept(whole, blobs or MemoryBlobs(), found, limits)

    @classmethod
    def from_directory(
        cls, directory: StrPath, blobs: Store | None = None, *, upper: bool = False, form: diff.Form | None = None,
        compression: str = "gzip", level: int | None = None,
    ) -> Layer:  # fmt: skip
        """A layer of a directory: written, hashed twice and compressed in one pass.

        :param upper: it is the upper directory of an overlay: whiteouts become deletions
        :param form: ids and times as they are written down
        :param compression: "none", "gzip" or "zstd"
        :param level: how hard to try; fast unless given
        """
        write = diff.write_upper if upper else diff.write_tree
        return cls._made(lambda sink: write(directory, sink, form), blobs, compression, level)

    @classmethod
    def from_difference(
        cls, old: StrPath, new: StrPath, blobs: Store | None = None, *, form: diff.Form | None = None, compression: str = "gzip",
        level: int | None = None,
    ) -> Layer:  # fmt: skip
        """A layer that turns one plain tree into another."""
        return cls._made(lambda sink: diff.write_difference(old, new, sink, form), blobs, compression, level)

    @classmethod
    def _made(cls, write: Callable[[Feed], object], blobs: Store | None, compression: str, level: int | None = None) -> Layer:
        blobs = blobs if blobs is not None else MemoryBlobs()
        hasher = hashlib.sha256()
        with _writer(blobs) as sink:
            compressor = Compressor(_write_to(sink), compression, level=level, seen=hasher.update)
            try:
                write(compressor.feed)
                compressor.close()
            finally:
                compressor.abandon()
            descriptor = sink.commit(media.layer(compression))
        return cls(descriptor, Digest.finish(hasher), blobs)

    @classmethod
    def _kept(cls, stream: Readable, blobs: Store, compression: str, limits: Limits | None) -> Layer:
        hasher = hashlib.sha256()
        with _writer(blobs) as sink:
            tee = _Tee(stream, sink)
            tar = Decompressed(tee, compression, limits=limits)
            while data := tar.read(CHUNK):
                hasher.update(data)
            while tee.read(CHUNK):
                pass
            descriptor = sink.commit(media.layer(compression))
        return cls(descriptor, Digest.finish(hasher), blobs)


class _Whole:
    """What a blob becomes; at its end the rest of the blob is read too, so that its digest was checked."""

    def __init__(self, tar: Readable, blob: io.BufferedIOBase) -> None:
        self._tar, self._blob = tar, blob

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._tar.read(size)
        except Mismatch:
            raise
        except ImageError:
            self._drain()  # a blob that was damaged on its way: that is what to say
            raise
        if not data and size:
            self._drain()
        return data

    def _drain(self) -> None:
        while self._blob.read(CHUNK):
            pass


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
    """Keeps what is read."""

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
    return sink.write  # type: ignore[return-value]  # a bytearray is bytes to whoever only reads it


@contextlib.contextmanager
def _writer(blobs: Store) -> Iterator[_Sink]:
    if isinstance(blobs, MemoryBlobs):
        yield _Memory(blobs)
    else:
        with blobs.writer() as writer:
            yield writer


def _copy(stream: Readable, sink: Callable[[Block], object]) -> None:
    """In blocks of one size, whatever the stream gives: the compressed bytes depend on it."""
    block = bytearray()
    while data := stream.read(CHUNK):
        block += data
        while len(block) >= CHUNK:
            sink(block[:CHUNK])
            del block[:CHUNK]
    sink(block)


def _spool(reader: Reader, entry: Entry) -> BinaryIO:
    file = tempfile.SpooledTemporaryFile(SPOOLED)  # noqa: SIM115
    for offset, length in entry.sparse if entry.sparse is not None else ((0, entry.stored),):
        file.seek(offset)
        for piece in reader.pieces(length):
            file.write(piece)
    if entry.sparse is not None:
        file.truncate(entry.size)
    file.seek(0)
    return file  # type: ignore[return-value]


def _sync(directory: str) -> None:
    """One syncfs(2) instead of an fsync for each file."""
    with _root.opened(os.open(directory, _root.DIRECTORY)) as fd:
        result = extension().lib.ck_call(extension().ffi.new("struct ck_trace *"), number("syncfs"), fd, 0, 0, 0, 0, 0)
    if result < 0:
        raise OSError(-result, os.strerror(-result), directory)


def _rename_new(staging: str, target: str) -> None:
    """rename(2) replaces an empty directory, but no other one."""
    try:
        os.rename(staging, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise CannotUnpack(errno.EEXIST, os.fsencode(target), "something is there already") from error
        raise
