"""Bringing something into a store: what is on the way is nobody else's, what is there is kept, and it is named last."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from ..image.layer import Layer
    from ..image.tar_from_tree import TarOptions
    from .unpacked import UnpackedLayers

__all__ = ["Session", "is_whole"]


class Session:
    """One addition to a store.  Everything it writes or finds stays for as long as it lasts, and for good once it is named.

    :param root: the store's directory
    """

    def __init__(self, root: Path, lease: Lease, names: Names, trees: UnpackedLayers) -> None:
        self._lease, self._names, self._trees, self._content = lease, names, trees, root / "locks" / "content"
        self._blobs = FileBlobs(root)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there.  It is from now on not collected, also one that is still to come."""
        with locked(self._content, shared=True):  # gc looks at the pins while it holds this alone
            self._lease.pin(descriptor.digest)
            return is_whole(self._path(descriptor.digest), descriptor.size)

    def add(self, descriptor: Descriptor, stream: Readable, unpack: tuple[Layer, Digest] | None = None) -> None:
        """Keeps a blob, verified, and on disk before it can be seen.  May be called by several threads at once.

        :param unpack: the layer that the blob is, and its chain id: it is unpacked while its bytes arrive
        :raises Mismatch: it is not what the descriptor says, or does not become what the layer says; nothing is kept
        :raises LimitExceeded: it is larger than the store allows
        :raises ImageError: it cannot be unpacked; nothing is kept
        """
        if self.has(descriptor):
            if unpack:
                self.unpack(*unpack)
        elif unpack and not self.has_tree(unpack[1]):
            self._add_both(descriptor, stream, *unpack)
        else:
            self._name(descriptor, self._write(descriptor, stream))

    def _add_both(self, descriptor: Descriptor, stream: Readable, layer: Layer, chain: Digest) -> None:
        """Neither the blob nor the tree has its name before both are right."""
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
        """A blob's bytes, verified and on disk, where nobody else looks.  :param seen: is called with all of them"""
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
        """Whether the layer is there unpacked.  It is from now on not collected, also one that is still to come."""
        with locked(self._content, shared=True):
            self._lease.pin(chain)
            return self._trees.place(chain).is_dir()

    def unpack(self, layer: Layer, chain: Digest) -> None:
        """Unpacks a layer whose blob is there, unless it is unpacked already.  :raises ImageError: it cannot be; nothing is kept"""
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
        """Keeps all that a manifest or an index leads to, itself last.

        :raises ImageError: something is missing, or not what its digest says
        """
        for found in reach(blobs, root):
            if not self.has(found.descriptor):
                with opened(blobs, found.descriptor) as stream:
                    self.add(found.descriptor, stream)

    def name(self, root: Descriptor, names: list[str]) -> None:
        """Names what is there.  When this returns it is there for good."""
        for directory in sorted(os.listdir(Path(self._blobs.directory, "blobs"))):
            sync_directory(Path(self._blobs.directory, "blobs", directory))  # also what others renamed a moment ago
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
    """Whether a blob is there with all its bytes, as far as can be told without reading it."""
    try:
        return os.lstat(path).st_size == size
    except OSError:
        return False
