"""Garbage collection of a store: blobs and unpacked layers that no name leads to and no lease pins."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ..base.frozen import frozen
from ..image import media
from ..image.blobs import GRACE, PART, Blobs, is_abandoned, read
from ..image.config import ImageConfig
from ..image.content import Found, reach
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.documents import parse
from ..image.errors import ImageError
from ..image.files.named_images import name_of
from ..image.image import chain_ids
from ..image.manifest import Manifest
from ..state.locks import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..state.leases import Lease
    from .store import Store

__all__ = ["Collected", "cached", "chains_of", "collect", "needed"]


@frozen
class Collected:
    """The result of a garbage collection.

    :ivar images: the removed images, by digest
    :ivar blobs: the removed blobs
    :ivar layers: the removed unpacked layers, by chain id
    :ivar bytes: the size of the removed blobs; layers are not counted
    """

    images: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    layers: tuple[Digest, ...]
    bytes: int


def collect(store: Store, lease: Lease, *, untagged: bool, named: bool, cache: bool, dry_run: bool) -> Collected:
    """Move everything that is not needed out of sight while additions wait.  The lease removes it when it ends.

    :raises ImageError: the blobs behind a name cannot be determined; nothing is removed
    """
    with locked(store.directory / "locks" / "content"):
        pinned = store.leases.pinned()
        with store.catalogue.change() as entries:
            gone = {e.digest for e in entries if (named or (untagged and not name_of(e))) and e.digest not in pinned}
            kept = [e for e in entries if e.digest not in gone]
            blobs, layers = needed(store.blobs, kept)  # before the names are written, because it may fail
            entries[:] = entries if dry_run else kept
        wanted = blobs | pinned | (set() if cache else cached(store.directory))
        garbage = [d for d in store.blobs if d not in wanted]
        unpacked = layers | pinned
        stale = [d for d in store.trees if d not in unpacked]
        kept_blobs = {*store.blobs, *pinned} - set(garbage)
        noted = [*store.origins.stale(kept_blobs), *store.sizes.stale(kept_blobs)]
        paths = [*(Path(store.blobs.path(d)) for d in garbage), *map(store.trees.place, stale), *_left(store), *noted]
        size = sum(os.stat(store.blobs.path(d)).st_size for d in garbage)
        for path in [] if dry_run else [*(_remembered(store.directory) if cache else ()), *paths]:  # records go before their blobs
            with contextlib.suppress(FileNotFoundError):  # a build removed the record, or the blob's owner the file
                os.rename(path, lease.place())
    return Collected(tuple(sorted(gone)), tuple(garbage), tuple(stale), size)


def cached(root: Path) -> set[Digest]:
    """Return the blobs in the build cache's records."""
    found = set()
    for path in _records(root):
        with contextlib.suppress(OSError, ImageError):
            found.add(Descriptor.from_json(parse(path.read_bytes(), "record").get("layer"), "record.layer").digest)
    return found


def _records(root: Path) -> list[Path]:
    return [path for path in sorted((root / "build" / "cache").glob("??/*")) if not path.name.startswith(".")]


def _remembered(root: Path) -> list[Path]:
    """Return all files that builds wrote for later builds."""
    return [*_records(root), *sorted((root / "build" / "digests").glob("[!.]*"))]


def _left(store: Store) -> Iterator[Path]:
    """Yield unfinished files of killed writers.  These writers hold no lease, so no sweep of leases finds the files."""
    for path in (store.directory / "blobs").glob(f"*/{PART}*"):
        with contextlib.suppress(OSError):
            if is_abandoned(path):
                yield path
    for place in ("cache/??", "digests"):
        for path in (store.directory / "build").glob(f"{place}/.new-*"):
            with contextlib.suppress(OSError):
                if time.time() - os.lstat(path).st_mtime > GRACE:  # a record is written at once, so an old file has no writer
                    yield path


def needed(blobs: Blobs, entries: list[Descriptor]) -> tuple[set[Digest], set[Digest]]:
    """Return the blobs and the layers behind some entries.

    :raises ImageError: a manifest or an index of them cannot be read
    """
    layers: set[Digest] = set()
    found: set[Digest] = set()
    for entry in entries:
        try:
            reached = list(reach(blobs, entry))
            layers |= {chain for each in reached for chain in chains_of(blobs, each)}
        except ImageError as error:
            raise ImageError(f"the blobs of {name_of(entry) or entry.digest} are not known, so nothing is removed: {error}") from error
        found |= {each.descriptor.digest for each in reached}
    return found, layers


def chains_of(blobs: Blobs, found: Found) -> tuple[Digest, ...]:
    """Return the chain ids of a manifest's layers; () for other blobs, and for artifacts."""
    if found.data is None or media.kind(found.descriptor.media_type) != "manifest":
        return ()
    config = Manifest.parse(found.data, found.descriptor.media_type).config
    return chain_ids(ImageConfig.parse(read(blobs, config)).diff_ids) if media.kind(config.media_type) == "config" else ()
