"""The blobs of a store.  They refer to their store, and know which repositories have them too."""

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

    :ivar store: the store, with the limits and the `skip` it was opened with
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store.directory)
        self.store = store

    def origins(self, digest: Digest, /) -> tuple[Reference, ...]:
        """Return the repositories that have a blob: see `Origins.of`."""
        return self.store.origins.of(digest)

    def note(self, digests: Iterable[Digest], place: Reference, /) -> None:
        """Note that a repository has those of these blobs that are here: see `Origins.add`."""
        self.store.origins.add(filter(self.has, digests), place)


class HeldBlobs(StoreBlobs):
    """The blobs of a store, some of them pinned by a lease for as long as this value lives.  A copy in another process pins nothing.

    :param lease: with pins for them
    """

    def __init__(self, store: Store, lease: Lease) -> None:
        super().__init__(store)
        weakref.finalize(self, _close, lease, os.getpid())

    def __reduce__(self) -> tuple[type[StoreBlobs], tuple[Store]]:
        return StoreBlobs, (self.store,)


def _close(lease: Lease, owner: int) -> None:
    """End the lease, but not in a forked child: the lease belongs to the child's parent."""
    if os.getpid() == owner:
        lease.close()
