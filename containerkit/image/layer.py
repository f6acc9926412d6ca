"""A layer: the tar of one change, by its digest compressed and by its diff_id not.

    layer = Layer.from_directory("root", blobs)         # compressed, both digests, in one pass
    layer.unpack("layers/1")                            # appears whole or not at all
    with layer.uncompressed() as tar: ...               # every stream is verified while it is read

:see: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO, Literal

from ..base.frozen import field, frozen
from . import media
from .blobs import Blobs, FileBlobs, MemoryBlobs, TemporaryBlobs
from .descriptor import Descriptor
from .digest import CHUNK, Digest, Readable, Verifier
from .errors import CannotUnpack, ImageError, InvalidLayer, Mismatch, Missing
from .ids import Ids
from .layer_writer import Feed
from .limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import tar_from_tree
    from .layer_writer import Store
    from .tar.tar import Entry, Reader
    from .unpack.unpack import Unpacked

__all__ = ["Feed", "Layer"]

StrPath = str | os.PathLike[str]
SPOOLED = 16 << 20


@frozen
class Layer:
    """One layer of an image.

    :param descriptor: of the blob, as it is stored
    :param diff_id: the digest of the tar in it
    :param blobs: where the blob is; two layers are equal wherever their blobs are
    """

    descriptor: Descriptor
    diff_id: Digest
    blobs: Blobs = field(compare=False)

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
        from .compression.compression import Decompressed
        from .compression.pipes import ReadAhead, Verified

        with contextlib.closing(self.compressed()) as opened, contextlib.ExitStack() as stages:
            blob: Readable = stages.enter_context(ReadAhead(opened)) if isinstance(opened, Verifier) else opened  # which hashes
            tar = _Whole(Decompressed(blob, media.compression(self.media_type), limits=limits), blob)
            checked = stages.enter_context(Verified(tar, self.diff_id, f"layer {self.diff_id.short}, not compressed"))
            yield stages.enter_context(ReadAhead(checked))

    def entries(self, limits: Limits | None = None) -> Iterator[Entry]:
        """What is in it, in the tar's order."""
        with self.uncompressed(limits) as tar:
            from .tar.tar import Reader

            reader = Reader(tar, limits)
            yield from reader
            reader.drain()

    def open(self, path: str | bytes, limits: Limits | None = None) -> BinaryIO:
        """One file of it; the layer is read to its end first, and verified.

        :param path: from the root, with or without a slash before it
        :raises Missing: there is no such file in this layer, or it is none
        """
        from .unpack.meaning import File, Meaning

        limits = limits or Limits.default()
        meaning = Meaning(limits)
        for number, entry in enumerate(self.entries(limits)):
            meaning.decide(entry, number)
        found = meaning.find(os.fsencode(path))
        if isinstance(found, File) and found.link is None and found.borrowed is None and (file := self._spooled(found.what, limits)):
            return file
        raise Missing(f"there is no file {os.fsdecode(path)!r} in layer {self.diff_id.short}")

    def _spooled(self, wanted: object, limits: Limits) -> BinaryIO | None:
        """The content of one entry, by its number; None of one that is no file."""
        with contextlib.ExitStack() as files, self.uncompressed(limits) as tar:
            from .tar.tar import Reader

            reader, found = Reader(tar, limits), None
            for number, entry in enumerate(reader):
                if number == wanted and entry.kind == "file":
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
        from ..state.staging import appearing

        try:
            with appearing(directory) as staging:
                return self.unpack_into(staging, whiteouts=whiteouts, xattrs=xattrs, ids=ids, limits=limits, skip=skip)
        except FileExistsError as error:
            raise CannotUnpack(errno.EEXIST, os.fsencode(directory), str(error.strerror)) from error

    def unpack_into(
        self, directory: StrPath, *, whiteouts: Literal["overlay", "plain"] = "plain", xattrs: str = "user", ids: Ids | None = None,
        limits: Limits | None = None, skip: Collection[str] = (), borrows: bool = False,
    ) -> Unpacked:  # fmt: skip
        """Unpacks into a directory that is there, as `unpack` does.  A failure leaves it half done.

        :raises Mismatch: these are not the layer's bytes; said before anything else that is wrong because of that
        """
        with self.uncompressed(limits) as tar:
            from .unpack.unpack import unpack

            try:
                return unpack(tar, directory, whiteouts=whiteouts, xattrs=xattrs, ids=ids, limits=limits, skip=skip, borrows=borrows)
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
        from . import layer_writer

        blobs = blobs if blobs is not None else MemoryBlobs()
        return cls(*layer_writer.from_tar(stream, blobs, compression, limits), blobs)

    @classmethod
    def from_directory(
        cls, directory: StrPath, blobs: Store | None = None, *, upper: bool = False, form: tar_from_tree.TarOptions | None = None,
        compression: str = "gzip", level: int | None = None,
    ) -> Layer:  # fmt: skip
        """A layer of a directory: written, hashed twice and compressed in one pass.

        :param upper: it is the upper directory of an overlay: whiteouts become deletions
        :param form: ids and times as they are written down
        :param compression: "none", "gzip" or "zstd"
        :param level: how hard to try; fast unless given
        """
        from . import tar_from_tree

        write = tar_from_tree.write_upper if upper else tar_from_tree.write_tree
        return cls.written(lambda sink: write(directory, sink, form), blobs, compression, level)

    @classmethod
    def from_difference(
        cls, old: StrPath, new: StrPath, blobs: Store | None = None, *, form: tar_from_tree.TarOptions | None = None,
        compression: str = "gzip", level: int | None = None,
    ) -> Layer:  # fmt: skip
        """A layer that turns one plain tree into another."""
        from . import tar_from_two_trees

        return cls.written(lambda sink: tar_from_two_trees.write_difference(old, new, sink, form), blobs, compression, level)

    @classmethod
    def written(
        cls, write: Callable[[Feed], object], blobs: Store | None = None, compression: str = "gzip", level: int | None = None
    ) -> Layer:
        """A layer of the tar that `write` writes: hashed twice and compressed while it is written.

        :param write: is called once, with a function that takes the tar in blocks, which are not to be changed any more
        """
        from . import layer_writer

        blobs = blobs if blobs is not None else MemoryBlobs()
        return cls(*layer_writer.written(write, blobs, compression, level), blobs)


class _Whole:
    """What a blob becomes; at its end the rest of the blob is read too, so that its digest was checked."""

    def __init__(self, tar: Readable, blob: Readable) -> None:
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


def _spool(reader: Reader, entry: Entry) -> BinaryIO:
    import tempfile

    file = tempfile.SpooledTemporaryFile(SPOOLED)  # noqa: SIM115
    if entry.sparse is not None:
        file.rollover()  # in memory a hole would be bytes
    for offset, length in entry.sparse if entry.sparse is not None else ((0, entry.stored),):
        file.seek(offset)
        for piece in reader.pieces(length):
            file.write(piece)
    if entry.sparse is not None:
        file.truncate(entry.size)
    file.seek(0)
    return file  # type: ignore[return-value]


def layer_of_changes(upper: StrPath, blobs: FileBlobs | MemoryBlobs | None = None, **options: Any) -> Layer:
    """Make a layer of an overlay's upper directory.

    :param upper: the directory with what was changed
    :param blobs: where the layer is kept; in a temporary file, gone with the layer, unless given
    :param options: of `Layer.from_directory`: form, compression, level
    """
    return Layer.from_directory(upper, TemporaryBlobs() if blobs is None else blobs, upper=True, **options)
