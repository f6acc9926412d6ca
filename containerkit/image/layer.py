"""A layer: one change as a tar, named by two digests: `digest` of the stored blob, `diff_id` of the uncompressed tar.

    layer = Layer.from_directory("root", blobs)         # one pass compresses and computes both digests
    layer.unpack("layers/1")                            # the directory appears complete or not at all
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
    """One layer of an image.  Two layers are equal when descriptor and diff_id are, wherever their blobs lie.

    :param descriptor: of the blob, as it is stored
    :param diff_id: the digest of the uncompressed tar
    :param blobs: where the blob is
    """

    descriptor: Descriptor
    diff_id: Digest
    blobs: Blobs = field(compare=False)

    @property
    def digest(self) -> Digest:
        """The digest of the blob, as it is stored."""
        return self.descriptor.digest

    @property
    def size(self) -> int:
        """The size of the blob in bytes, as it is stored."""
        return self.descriptor.size

    @property
    def media_type(self) -> str:
        """The media type of the blob."""
        return self.descriptor.media_type

    # --- reading -------------------------------------------------------------------------------------------------

    def compressed(self) -> io.BufferedIOBase:
        """Open the blob; its bytes are verified while they are read.  The caller closes the stream."""
        return self.blobs.open(self.descriptor)

    @contextlib.contextmanager
    def uncompressed(self, limits: Limits | None = None) -> Iterator[Readable]:
        """Give the uncompressed tar.  Its last bytes are delivered only if the tar and the blob match their digests.

        :param limits: the most that the tar may use; the default limits unless given
        :raises Mismatch: while reading: a digest differs, or the media type names another compression
        """
        from .compression.compression import Decompressed
        from .compression.pipes import ReadAhead, Verified

        with contextlib.closing(self.compressed()) as opened, contextlib.ExitStack() as stages:
            blob: Readable = stages.enter_context(ReadAhead(opened)) if isinstance(opened, Verifier) else opened  # which hashes
            tar = _Whole(Decompressed(blob, media.compression(self.media_type), limits=limits), blob)
            checked = stages.enter_context(Verified(tar, self.diff_id, f"layer {self.diff_id.short}, not compressed"))
            yield stages.enter_context(ReadAhead(checked))

    def entries(self, limits: Limits | None = None) -> Iterator[Entry]:
        """Yield the entries of the tar, in its order.  The layer is verified when the last one was read."""
        with self.uncompressed(limits) as tar:
            from .tar.tar import Reader

            reader = Reader(tar, limits)
            yield from reader
            reader.drain()

    def open(self, path: str | bytes, limits: Limits | None = None) -> BinaryIO:
        """Open one file of the layer, after the whole layer was read and verified.

        :param path: from the root, with or without a leading slash
        :raises Missing: this layer has no regular file of that name
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
        """Return the content of the entry with this number; None when the entry is no file."""
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
        """Unpack into a new directory, which appears complete or not at all, and is on the disk when this returns.

        :param directory: must not exist; its parent must.  The other parameters are those of `unpack`
        :raises CannotUnpack: `directory` exists already
        :raises Mismatch: the bytes are not the layer's
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
        """Unpack into an existing directory, as `unpack` does.  A failure leaves the directory half done.

        :raises Mismatch: the bytes are not the layer's; this is reported before any fault that the wrong bytes cause
        """
        with self.uncompressed(limits) as tar:
            from .unpack.unpack import unpack

            try:
                return unpack(tar, directory, whiteouts=whiteouts, xattrs=xattrs, ids=ids, limits=limits, skip=skip, borrows=borrows)
            except InvalidLayer:
                self._check()
                raise

    def _check(self) -> None:
        """Compare the blob with its digest.

        :raises Mismatch: the bytes are not the layer's
        """
        with contextlib.closing(self.compressed()) as blob:
            while blob.read(CHUNK):
                pass

    # --- making --------------------------------------------------------------------------------------------------

    @classmethod
    def from_tar(cls, stream: Readable, blobs: Store | None = None, *, compression: str = "gzip", limits: Limits | None = None) -> Layer:
        """Make a layer of a tar.  A compressed tar keeps its bytes.

        :param stream: the tar, read to its end
        :param blobs: where the layer is kept; in memory unless given
        :param compression: for an uncompressed tar: "none", "gzip" or "zstd"
        :raises InvalidLayer: the tar is damaged
        """
        from . import layer_writer

        blobs = blobs if blobs is not None else MemoryBlobs()
        return cls(*layer_writer.from_tar(stream, blobs, compression, limits), blobs)

    @classmethod
    def from_directory(
        cls, directory: StrPath, blobs: Store | None = None, *, upper: bool = False, form: tar_from_tree.TarOptions | None = None,
        compression: str = "gzip", level: int | None = None,
    ) -> Layer:  # fmt: skip
        """Make a layer of a directory.  One pass writes the tar, compresses it and computes both digests.

        :param upper: treat the directory as the upper one of an overlay, whose whiteouts become deletions
        :param form: which ids and times are written
        :param compression: "none", "gzip" or "zstd"
        :param level: of the compression; a fast one unless given
        """
        from . import tar_from_tree

        write = tar_from_tree.write_upper if upper else tar_from_tree.write_tree
        return cls.written(lambda sink: write(directory, sink, form), blobs, compression, level)

    @classmethod
    def from_difference(
        cls, old: StrPath, new: StrPath, blobs: Store | None = None, *, form: tar_from_tree.TarOptions | None = None,
        compression: str = "gzip", level: int | None = None,
    ) -> Layer:  # fmt: skip
        """Make a layer that turns the plain tree `old` into the plain tree `new`."""
        from . import tar_from_two_trees

        return cls.written(lambda sink: tar_from_two_trees.write_difference(old, new, sink, form), blobs, compression, level)

    @classmethod
    def written(
        cls, write: Callable[[Feed], object], blobs: Store | None = None, compression: str = "gzip", level: int | None = None
    ) -> Layer:
        """Make a layer of the tar that `write` writes.  The tar is compressed and both digests are computed during the writing.

        :param write: is called once with a function that takes blocks of the tar; a block must not be changed afterwards
        """
        from . import layer_writer

        blobs = blobs if blobs is not None else MemoryBlobs()
        return cls(*layer_writer.written(write, blobs, compression, level), blobs)


class _Whole:
    """The uncompressed stream of a blob; at its end the rest of the blob is read too, so that its digest is checked."""

    def __init__(self, tar: Readable, blob: Readable) -> None:
        self._tar, self._blob = tar, blob

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._tar.read(size)
        except Mismatch:
            raise
        except ImageError:
            self._drain()  # raises Mismatch when the blob was damaged on its way, which explains the other error
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
        file.rollover()  # in memory a hole would take its size in bytes
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

    :param upper: the directory with the changes
    :param blobs: where the layer is kept; unless given in a temporary file, which is removed with the layer
    :param options: of `Layer.from_directory`: form, compression, level
    """
    return Layer.from_directory(upper, TemporaryBlobs() if blobs is None else blobs, upper=True, **options)
