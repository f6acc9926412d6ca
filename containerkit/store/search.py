"""Finding an entry of a store by whatever people call an image: a name, a digest, an id, or the first digits of one."""

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

SHORTEST = 4  # hex digits that stand for an image


def search(entries: Collection[Descriptor], blobs: Blobs, name: str) -> Descriptor:
    """The entry of a name, a digest, an image's id, or the first hex digits of one of these.

    :raises Missing: there is none, or the digits are not enough
    """
    try:
        return _Entries(entries, blobs).find(name)
    except Missing:
        found = {e.digest: e for e in entries if name and _called(blobs, e, name)}
        if len(found) == 1:
            return next(iter(found.values()))
        raise Missing(f"{name!r} is the beginning of several images" if found else f"there is no {name!r} in the store") from None


class _Entries(NamedImages):
    """Some entries, to be searched."""

    entries: tuple[Descriptor, ...] = ()

    def __init__(self, entries: Collection[Descriptor], blobs: Blobs) -> None:
        self.entries, self.blobs = tuple(entries), blobs


def _called(blobs: Blobs, entry: Descriptor, name: str) -> bool:
    """Whether a name with a digest, or hex digits, mean this entry."""
    _, at, digest = name.partition("@")
    if at:
        return digest == entry.digest
    digits = name.removeprefix("sha256:")
    if len(digits) < SHORTEST or digits.strip("0123456789abcdef"):
        return False
    return any(d.hex.startswith(digits) for d in (entry.digest, *_ids(blobs, entry)))


def _ids(blobs: Blobs, entry: Descriptor) -> Iterator[Digest]:
    """What docker calls the images of an entry by."""
    with contextlib.suppress(ImageError):
        for each in manifests(blobs, entry):
            yield Manifest.parse(read(blobs, each), each.media_type).config.digest
