"""Images that are found by name: in a layout, an archive or a store.

source.entries              descriptors with names, as in the index
source.find("app:1")        the entry of that name
source.manifest("app:1")    the image of that name for this machine, or for another platform
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import media
from ..blobs import Blobs, read
from ..config import ImageConfig
from ..content import manifests
from ..descriptor import Descriptor, Platform
from ..errors import InvalidReference, Missing
from ..manifest import Manifest
from ..reference import Reference

__all__ = ["IMAGE_NAME", "REF_NAME", "NamedImages", "name_of", "named"]

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"  # the full name, when REF_NAME is only the tag


def name_of(entry: Descriptor) -> str:
    """Return the name that an index gives to an entry, the full one if it is known; "" when the entry has none."""
    return entry.annotations.get(IMAGE_NAME) or entry.annotations.get(REF_NAME, "")


def named(entry: Descriptor, name: str) -> Descriptor:
    """Return the entry under another name; "" removes the name."""
    rest = {key: value for key, value in entry.annotations.items() if key not in (IMAGE_NAME, REF_NAME)}
    return entry.with_(annotations=rest | ({REF_NAME: name} if name else {}))


class NamedImages:
    """Images by name.

    :ivar blobs: where their bytes are
    """

    blobs: Blobs

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """The entries of the index, in order; an image with two names has two."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, once."""
        return tuple(dict.fromkeys(filter(None, map(name_of, self.entries))))

    def find(self, name: str = "") -> Descriptor:
        """Return the entry with this name, with an equivalent spelling of it, or with this digest.

        :param name: may be left out when only one image exists
        :raises Missing: no entry matches, or no name was given and there are several images; the message lists the names
        """
        found = [entry for entry in self.entries if not name or name in (*_names(entry), entry.digest)]
        found = found or [entry for entry in self.entries if _means(name) in {_means(n) for n in _names(entry)} - {None}]
        if len({entry.digest for entry in found}) != 1:
            there = ", ".join(self.names) or f"{len(self.entries)} without a name"
            raise Missing(f"{'there is no ' + repr(name) if name else 'which image?'} (there are: {there})")
        return found[0]

    def manifest(self, name: str = "", platform: Platform | None = None) -> Descriptor:
        """Return the manifest of the image with this name, chosen from its index by platform.

        :param platform: this machine's by default; an only image is returned for any platform unless one is given
        :raises Missing: no image has that name, or none is for that platform
        """
        found = manifests(self.blobs, self.find(name))
        images = [d for d in found if d.platform is None or d.platform.os != "unknown"]  # leaves out buildkit's attestations
        if len(images) == 1 and platform is None:
            return images[0]
        place = (platform or Platform.here()).best(self._platforms(images))
        if place is None:
            offered = ", ".join(map(str, filter(None, self._platforms(images)))) or "nothing"
            raise Missing(f"{name or 'the image'} is not there for {platform or Platform.here()}: it is for {offered}")
        return images[place]

    def _platforms(self, found: Iterable[Descriptor]) -> list[Platform | None]:
        return [d.platform or platform_of(self.blobs, d) for d in found]


def platform_of(blobs: Blobs, manifest: Descriptor) -> Platform | None:
    """Return the platform in an image's config; None for an artifact."""
    config = Manifest.parse(read(blobs, manifest), manifest.media_type).config
    return ImageConfig.parse(read(blobs, config)).platform if media.kind(config.media_type) == "config" else None


def _names(entry: Descriptor) -> list[str]:
    return [n for n in (entry.annotations.get(REF_NAME), entry.annotations.get(IMAGE_NAME)) if n]


def _means(name: str) -> str | None:
    try:
        return str(Reference.parse(name)) if name else None
    except InvalidReference:
        return None
