"""A union of blob sources."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Mapping

from ..blobs import Blobs, is_local
from ..descriptor import Descriptor
from ..digest import Digest
from ..errors import Missing
from ..origins import note_origin, origins_of
from ..reference import Reference

__all__ = ["BlobUnion"]


class BlobUnion:
    """A union of blob sources: blobs whose source is known, then sources that are asked in turn.

    :param known: digest -> the source of that blob
    :param others: asked in this order for any other blob
    """

    def __init__(self, known: Mapping[Digest, Blobs], *others: Blobs) -> None:
        self._known, self._others = dict(known), others

    def open(self, descriptor: Descriptor, /) -> io.BufferedIOBase:
        if place := self._place(descriptor.digest):
            return place.open(descriptor)
        raise Missing(f"there is no blob {descriptor.digest}")

    def has(self, digest: Digest, /) -> bool:
        return self._place(digest) is not None

    @property
    def places(self) -> tuple[Blobs, ...]:
        """All sources, each once."""
        return tuple({id(each): each for each in (*self._known.values(), *self._others)}.values())

    def is_local(self, digest: Digest, /) -> bool:
        """Return whether `open` would ask no other machine."""
        if digest in self._known:
            return is_local(self._known[digest], digest)
        near = itertools.takewhile(lambda blobs: hasattr(blobs, "is_local"), self._others)
        return any(is_local(blobs, digest) for blobs in near)

    def origins(self, digest: Digest, /) -> tuple[Reference, ...]:
        """Return the repositories that have a blob, as far as these sources know without asking a registry."""
        places = [self._known[digest]] if digest in self._known else self._others
        return tuple(dict.fromkeys(found for blobs in places for found in origins_of(blobs, digest)))

    def note(self, digests: Iterable[Digest], place: Reference, /) -> None:
        """Note that a repository has these blobs, in each source that keeps such notes."""
        for digest in digests:
            for blobs in [self._known[digest]] if digest in self._known else self._others:
                note_origin(blobs, [digest], place)

    def _place(self, digest: Digest) -> Blobs | None:
        if digest in self._known:
            return self._known[digest]
        return next((blobs for blobs in self._others if blobs.has(digest)), None)
