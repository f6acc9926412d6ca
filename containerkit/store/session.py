"""Additions to a store: stage privately, reuse blobs that exist, publish names last."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ..base.frozen import replace
from ..image.blobs import Blobs, FileBlobs
from ..image.content import opened, reach
from ..image.descriptor import Descriptor
from ..image.digest import CHUNK, Digest, Readable, Verifier
from ..image.errors import Missing
from ..image.files.named_images import named
from ..image.limits import Limits
from ..state.files import sync_directory
from ..state.leases import Lease
from ..state.locks import locked
from .names import Names, give

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..image.layer import Layer
    from ..image.tar_from_tree import TarOptions
    from .unpacked import UnpackedLayers

__all__ = ["Session", "is_whole"]


class Session:
    """One addition to a store.

    Blobs that the session writes or finds are pinned until it ends.  Blobs behind a name that it sets stay for good.

    :param root: the store's directory
    """

    def __init__(self, root: Path, lease: Lease, names: Names, trees: UnpackedLayers) -> None:
        self._lease, self._names, self._trees, self._content = lease, names, trees, root / "locks" / "content"
        self._blobs = FileBlobs(root)

    def has(self, descriptor: Descriptor) -> bool:
        """Pin a blob against collection, present or not, and return whether it is present."""
        with locked(self._content, shared=True):  # gc reads the pins while it holds this lock exclusively
            self._lease.pin(descriptor.digest)
            return is_whole(self._path(descriptor.digest), descriptor.size)

    def add(self, descriptor: Descriptor, stream: Readable, unpack: tuple[Layer, Digest] | None = None) -> None:
        """Keep a blob.  It is verified and on the disk before it becomes visible.  Several threads may call this at once.

        :param unpack: the layer in the blob, and its chain id, to unpack it while its bytes arrive
        :raises Mismatch: the blob does not match its descriptor, or the layer its diff_id; nothing is kept
        :raises LimitExceeded: the blob is larger than the store allows
        :raises ImageError: the layer cannot be unpacked; nothing is kept
        """
        if self.has(descriptor):
            if unpack:
                self.unpack(*unpack)
        elif unpack and not self.has_tree(unpack[1]):
            self._add_both(descriptor, stream, *unpack)
        else:
            self._name(descriptor, self._write(descriptor, stream))

    def _add_both(self, descriptor: Descriptor, stream: Readable, layer: Layer, chain: Digest) -> None:
        """Store a blob and unpack it at once; both get their final names only after both are verified."""
        arriving = self._trees.arriving(layer, chain, self._lease)
        try:
            new = self._write(descriptor, stream, arriving.feed)
            arriving.finish()
        except BaseException as error:
            arriving.abandon(error)
            raise
        self._name(descriptor, new)
        self._trees.publish(chain, arriving.place)

    def _write(self, descriptor: Descriptor, stream: Readable, seen: Callable[[bytes], object] = lambda data: None) -> Path:
        """Write a blob, verified and synced, to a private path.

        :param seen: is called with all of its bytes
        """
        (self._trees.limits or Limits.default()).check("bytes", descriptor.size, f"the blob {descriptor.digest.short}")
        new, source = self._lease.place(), Verifier(stream, descriptor.digest, descriptor.size)
        with open(new, "xb", buffering=0) as file:
            while data := source.read1(CHUNK):
                seen(data)
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
            source.drain()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        return new

    def _name(self, descriptor: Descriptor, new: Path) -> None:
        path = self._path(descriptor.digest)
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
        os.rename(new, path)

    def has_tree(self, chain: Digest) -> bool:
        """Pin an unpacked layer against collection, present or not, and return whether it is present."""
        with locked(self._content, shared=True):
            self._lease.pin(chain)
            return self._trees.place(chain).is_dir()

    def unpack(self, layer: Layer, chain: Digest) -> None:
        """Unpack a layer whose blob is in the store, unless it is unpacked already.

        :raises ImageError: the layer cannot be unpacked; nothing is kept
        """
        if not self.has_tree(chain):
            self._trees.make(replace(layer, blobs=self._blobs), chain, self._lease)

    def adopt(self, layer: Layer, upper: Path, chain: Digest, form: TarOptions) -> Path:
        """See `Store.adopt`."""
        from ..image.unpack.adopt import normalize

        if not self.has(layer.descriptor):
            raise Missing(f"the blob {layer.digest} is not in the store")
        if self.has_tree(chain):
            return self._trees.path(chain)
        here = os.stat(upper).st_dev == os.stat(self._blobs.directory).st_dev and form.ids == self._trees.ids
        if here and normalize(upper, form, f"{self._trees.xattrs}.overlay.opaque"):
            return self._trees.adopt(layer, chain, upper, self._lease)
        return self._trees.make(replace(layer, blobs=self._blobs), chain, self._lease)

    def copy(self, blobs: Blobs, root: Descriptor) -> None:
        """Keep all blobs behind a manifest or an index, and the document itself last.

        :raises ImageError: a blob is missing, or does not match its digest
        """
        for found in reach(blobs, root):
            if not self.has(found.descriptor):
                with opened(blobs, found.descriptor) as stream:
                    self.add(found.descriptor, stream)

    def name(self, root: Descriptor, names: list[str]) -> None:
        """Name something that the session stored.  The name is on the disk when this returns."""
        for directory in sorted(os.listdir(Path(self._blobs.directory, "blobs"))):
            sync_directory(Path(self._blobs.directory, "blobs", directory))  # this also syncs what other processes renamed a moment ago
        sync_directory(Path(self._blobs.directory, "blobs"))
        with self._names.change() as entries:
            give(entries, named(root, ""), names)

    def _path(self, digest: Digest) -> Path:
        return Path(self._blobs.path(digest))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._lease.close()


def is_whole(path: Path, size: int) -> bool:
    """Return whether a blob has all its bytes, as far as can be told without reading it."""
    try:
        return os.lstat(path).st_size == size
    except OSError:
        return False
