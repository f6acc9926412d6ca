"""Many places that have blobs, as one."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping

from .blobs import Blobs, is_local
from .descriptor import Descriptor
from .digest import Digest
from .errors import Missing

__all__ = ["Sources"]


class Sources:
    """Many places as one: blobs of which each has a place of its own, then places that are asked in turn.

    :param known: digest -> where that blob is
    :param others: asked in this order for all else
    """

    def __init__(self, known: Mapping[Digest, Blobs], *others: Blobs) -> None:
        self._known, self._others = dict(known), others

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        if place := self._place(descriptor.digest):
            return place.open(descriptor)
        raise Missing(f"there is no blob {descriptor.digest}")

    def has(self, digest: Digest, /) -> bool:
        return self._place(digest) is not None

    def is_local(self, digest: Digest, /) -> bool:
        """Whether `open` would ask no other machine."""
        if digest in self._known:
            return is_local(self._known[digest], digest)
        near = itertools.takewhile(lambda blobs: hasattr(blobs, "is_local"), self._others)
        return any(is_local(blobs, digest) for blobs in near)

    def _place(self, digest: Digest) -> Blobs | None:
        if digest in self._known:
            return self._known[digest]
        return next((blobs for blobs in self._others if blobs.has(digest)), None)
