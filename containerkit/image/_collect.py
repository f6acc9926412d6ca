"""What a store can do without: blobs and unpacked layers that no name leads to, and that nobody relies on meanwhile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import media
from ._content import Found, reach
from ._disk import locked
from .blobs import Blobs, read
from .config import ImageConfig
from .descriptor import Descriptor
from .digest import Digest
from .errors import ImageError
from .image import chain_ids
from .manifest import Manifest
from .source import name_of

if TYPE_CHECKING:
    from ._leases import Lease
    from .store import Store

__all__ = ["Collected", "chains_of", "collect"]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was removed.

    :ivar images: that had no name, where those were to go
    :ivar bytes: of the blobs; the layers are not counted before they go
    """

    images: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    layers: tuple[Digest, ...]
    bytes: int


def collect(store: Store, lease: Lease, *, untagged: bool) -> Collected:
    """Moves what is not needed out of sight, while nobody adds anything; the lease removes it when it ends.

    :raises ImageError: what a name leads to cannot be found out: nothing is removed
    """
    with locked(store.directory / "locks" / "content"):
        pinned = store.leases.pinned()
        with store.catalogue.change() as entries:
            gone = [e.digest for e in entries if untagged and not name_of(e) and e.digest not in pinned]
            kept = [e for e in entries if e.digest not in gone]
            blobs, layers = needed(store.blobs, kept)  # before the names are written: it may fail
            entries[:] = kept
        garbage = [d for d in store.blobs if d not in blobs | pinned]
        stale = [d for d in store.trees if d not in layers | pinned]
        size = sum(os.stat(store.blobs.path(d)).st_size for d in garbage)
        for path in (*(Path(store.blobs.path(d)) for d in garbage), *map(store.trees.place, stale)):
            os.rename(path, lease.place())
    return Collected(tuple(gone), tuple(garbage), tuple(stale), size)


def needed(blobs: Blobs, entries: list[Descriptor]) -> tuple[set[Digest], set[Digest]]:
    """The blobs and the layers that some entries lead to.  :raises ImageError: that cannot be found out"""
    layers: set[Digest] = set()
    found: set[Digest] = set()
    for entry in entries:
        try:
            reached = list(reach(blobs, entry))
            layers |= {chain for each in reached for chain in chains_of(blobs, each)}
        except ImageError as error:
            raise ImageError(f"what {name_of(entry) or entry.digest} needs is not known, so nothing is removed: {error}") from error
        found |= {each.descriptor.digest for each in reached}
    return found, layers


def chains_of(blobs: Blobs, found: Found) -> tuple[Digest, ...]:
    """The layers of a manifest, by chain; none for other blobs, and for artifacts."""
    if found.data is None or media.kind(found.descriptor.media_type) != "manifest":
        return ()
    config = Manifest.parse(found.data, found.descriptor.media_type).config
    return chain_ids(ImageConfig.parse(read(blobs, config)).diff_ids) if media.kind(config.media_type) == "config" else ()
