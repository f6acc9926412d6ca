"""Lookup of an image in a store by name, digest or id, or by the first digits of a digest or id."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from ..image.blobs import Blobs, read
from ..image.content import manifests
from ..image.descriptor import Descriptor
from ..image.digest import Digest
from ..image.errors import ImageError, Missing
from ..image.files.named_images import NamedImages
from ..image.manifest import Manifest

__all__ = ["search"]

SHORTEST = 4  # the fewest hex digits that may stand for an image


def search(entries: Collection[Descriptor], blobs: Blobs, name: str) -> Descriptor:
    """Return the entry with this name, digest or image id, or with the first hex digits of a digest or id.

    :raises Missing: no entry matches, or several entries begin with the digits
    """
    try:
        return _Entries(entries, blobs).find(name)
    except Missing:
        found = {e.digest: e for e in entries if name and _called(blobs, e, name)}
        if len(found) == 1:
            return next(iter(found.values()))
        raise Missing(f"{name!r} begins the digests of several images" if found else f"there is no {name!r} in the store") from None


class _Entries(NamedImages):
    """Entries to be searched by name."""

    entries: tuple[Descriptor, ...] = ()

    def __init__(self, entries: Collection[Descriptor], blobs: Blobs) -> None:
        self.entries, self.blobs = tuple(entries), blobs


def _called(blobs: Blobs, entry: Descriptor, name: str) -> bool:
    """Return whether a name with a digest, or hex digits, mean this entry."""
    _, at, digest = name.partition("@")
    if at:
        return digest == entry.digest
    digits = name.removeprefix("sha256:")
    if len(digits) < SHORTEST or digits.strip("0123456789abcdef"):
        return False
    return any(d.hex.startswith(digits) for d in (entry.digest, *_ids(blobs, entry)))


def _ids(blobs: Blobs, entry: Descriptor) -> Iterator[Digest]:
    """Yield the ids of the images behind an entry."""
    with contextlib.suppress(ImageError):
        for each in manifests(blobs, entry):
            yield Manifest.parse(read(blobs, each), each.media_type).config.digest
