"""The blobs of a store, which lead back to the store as it was opened, and know which repositories have them too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .blobs import FileBlobs
from .digest import Digest
from .reference import Reference

if TYPE_CHECKING:
    from .store import Store

__all__ = ["StoreBlobs"]


class StoreBlobs(FileBlobs):
    """The blobs of a store.

    :ivar store: with the limits, and with what may be skipped, that it was opened with
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store.directory)
        self.store = store

    def origins(self, digest: Digest, /) -> tuple[Reference, ...]:
        """See `Origins.of`."""
        return self.store.origins.of(digest)

    def note(self, digests: Iterable[Digest], place: Reference, /) -> None:
        """See `Origins.add`; of those that are here."""
        self.store.origins.add(filter(self.has, digests), place)
