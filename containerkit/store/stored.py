"""The blobs of a store, which lead back to the store as it was opened, and know which repositories have them too."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable

from ..image.blobs import FileBlobs
from ..image.digest import Digest
from ..image.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..state.leases import Lease
    from .store import Store

__all__ = ["HeldBlobs", "StoreBlobs"]


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


class HeldBlobs(StoreBlobs):
    """The same, of which some are held by a lease for as long as this value lives.  In another process they are not.

    :param lease: with pins for them
    """

    def __init__(self, store: Store, lease: Lease) -> None:
        super().__init__(store)
        weakref.finalize(self, _close, lease, os.getpid())

    def __reduce__(self) -> tuple[type[StoreBlobs], tuple[Store]]:
        return StoreBlobs, (self.store,)


def _close(lease: Lease, owner: int) -> None:
    """A forked child has the lease open too, and it is not the child's to remove."""
    if os.getpid() == owner:
        lease.close()
