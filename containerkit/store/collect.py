"""What a store can do without: blobs and unpacked layers that no name leads to, and that nobody relies on meanwhile."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from ..state.leases import Lease
    from .store import Store

__all__ = ["Collected", "cached", "chains_of", "collect", "needed"]


@frozen
class Collected:
    """What was removed.

    :ivar images: that had no name, where those were to go
    :ivar bytes: of the blobs; the layers are not counted before they go
    """

    images: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    layers: tuple[Digest, ...]
    bytes: int


def collect(store: Store, lease: Lease, *, untagged: bool, named: bool, cache: bool, dry_run: bool) -> Collected:
    """Moves what is not needed out of sight, while nobody adds anything; the lease removes it when it ends.

    :raises ImageError: what a name leads to cannot be found out: nothing is removed
    """
    with locked(store.directory / "locks" / "content"):
        pinned = store.leases.pinned()
        with store.catalogue.change() as entries:
            gone = {e.digest for e in entries if (named or (untagged and not name_of(e))) and e.digest not in pinned}
            kept = [e for e in entries if e.digest not in gone]
            blobs, layers = needed(store.blobs, kept)  # before the names are written: it may fail
            entries[:] = entries if dry_run else kept
        wanted = blobs | pinned | (set() if cache else cached(store.directory))
        garbage = [d for d in store.blobs if d not in wanted]
        unpacked = layers | pinned
        stale = [d for d in store.trees if d not in unpacked]
        kept_blobs = {*store.blobs, *pinned} - set(garbage)
        noted = [*store.origins.stale(kept_blobs), *store.sizes.stale(kept_blobs)]
        paths = [*(Path(store.blobs.path(d)) for d in garbage), *map(store.trees.place, stale), *_left(store), *noted]
        size = sum(os.stat(store.blobs.path(d)).st_size for d in garbage)
        for path in [] if dry_run else [*(_remembered(store.directory) if cache else ()), *paths]:  # what knows of a blob goes first
            with contextlib.suppress(FileNotFoundError):  # a build forgot it, or its owner took it
                os.rename(path, lease.place())
    return Collected(tuple(sorted(gone)), tuple(garbage), tuple(stale), size)


def cached(root: Path) -> set[Digest]:
    """The blobs that builds remember."""
    found = set()
    for path in _records(root):
        with contextlib.suppress(OSError, ImageError):
            found.add(Descriptor.from_json(parse(path.read_bytes(), "record").get("layer"), "record.layer").digest)
    return found


def _records(root: Path) -> list[Path]:
    return [path for path in sorted((root / "build" / "cache").glob("??/*")) if not path.name.startswith(".")]


def _remembered(root: Path) -> list[Path]:
    """All that builds wrote down for the next one."""
    return [*_records(root), *sorted((root / "build" / "digests").glob("[!.]*"))]


def _left(store: Store) -> Iterator[Path]:
    """What writers that were killed left beside the blobs and the records: those know of no lease."""
    for path in (store.directory / "blobs").glob(f"*/{PART}*"):
        with contextlib.suppress(OSError):
            if is_abandoned(path):
                yield path
    for place in ("cache/??", "digests"):
        for path in (store.directory / "build").glob(f"{place}/.new-*"):
            with contextlib.suppress(OSError):
                if time.time() - os.lstat(path).st_mtime > GRACE:  # written at once or never
                    yield path


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
