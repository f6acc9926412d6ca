"""CachingBlobs: a repository's blobs, with each manifest read only once."""

from __future__ import annotations

import io

from ..image import media
from ..image.blobs import read
from ..image.descriptor import Descriptor
from ..image.digest import Digest, Verifier
from ..image.errors import LimitExceeded
from ..image.reference import Reference
from .remote import RemoteBlobs, Stream

__all__ = ["CachingBlobs"]

MOST = 256 << 20  # bytes of all documents of one index, which may name thousands, of 4 MiB each


class CachingBlobs:
    """Blobs of a repository, with manifests, indexes and configs kept in memory.

    :ivar documents: manifests and indexes, in the order they were read
    """

    def __init__(self, blobs: RemoteBlobs) -> None:
        self._blobs = blobs
        self._data: dict[Digest, bytes] = {}
        self._size = 0
        self.documents: dict[Digest, Descriptor] = {}

    def keep(self, descriptor: Descriptor, data: bytes) -> None:
        """Keep a document that the caller has read and verified.  :raises LimitExceeded: all documents together are too large"""
        self._data[descriptor.digest] = data
        self._size += len(data)  # not locked: a count that another thread overwrites does not matter
        if self._size > MOST:
            raise LimitExceeded("manifests and configs of one index", MOST)
        if media.kind(descriptor.media_type) in ("manifest", "index"):
            self.documents.setdefault(descriptor.digest, descriptor.bare())

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        if media.kind(descriptor.media_type) not in ("manifest", "index", "config"):
            return self._blobs.open(descriptor)
        if descriptor.digest not in self._data:
            self.keep(descriptor, read(self._blobs, descriptor))
        return Verifier(io.BytesIO(self._data[descriptor.digest]), descriptor.digest, descriptor.size)

    def known(self, descriptor: Descriptor) -> bytes | None:
        """Return a document's bytes if no request is needed for them, else None."""
        return descriptor.data if descriptor.data is not None else self._data.get(descriptor.digest)

    def raw(self, descriptor: Descriptor) -> Stream:
        """Return a blob's bytes, not verified.  The caller verifies and closes."""
        return self._blobs.raw(descriptor)

    def origins(self, digest: Digest, /) -> tuple[Reference, ...]:
        """Return the repository of these blobs."""
        return self._blobs.origins(digest)

    def has(self, digest: Digest, /) -> bool:
        return digest in self._data or self._blobs.has(digest)
