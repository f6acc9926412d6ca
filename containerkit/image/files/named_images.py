"""Where images are found by name: a layout, an archive, a store.

source.entries              descriptors with names, as its index has them
source.find("app:1")        the one of that name
source.manifest("app:1")    the image in it for this machine, or for another platform
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
IMAGE_NAME = "io.containerd.image.name"  # the full name, where REF_NAME is only the tag


def name_of(entry: Descriptor) -> str:
    """The name that an index gives to an entry, in full where it says so; "" for none."""
    return entry.annotations.get(IMAGE_NAME) or entry.annotations.get(REF_NAME, "")


def named(entry: Descriptor, name: str) -> Descriptor:
    """The entry under another name; "" for none."""
    rest = {key: value for key, value in entry.annotations.items() if key not in (IMAGE_NAME, REF_NAME)}
    return entry.with_(annotations=rest | ({REF_NAME: name} if name else {}))


class NamedImages:
    """Images by name.

    :ivar blobs: where their bytes are
    """

    blobs: Blobs

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """What its index names, in order; one thing with two names is there twice."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, once."""
        return tuple(dict.fromkeys(filter(None, map(name_of, self.entries))))

    def find(self, name: str = "") -> Descriptor:
        """The entry of this name: as it is written there, or another way to write the same, or a digest.

        :param name: may be left out where there is only one
        :raises Missing: there is none, or none was named and there are many; the text says which there are
        """
        found = [entry for entry in self.entries if not name or name in (*_names(entry), entry.digest)]
        found = found or [entry for entry in self.entries if _means(name) in {_means(n) for n in _names(entry)} - {None}]
        if len({entry.digest for entry in found}) != 1:
            there = ", ".join(self.names) or f"{len(self.entries)} without a name"
            raise Missing(f"{'there is no ' + repr(name) if name else 'which image?'} (there are: {there})")
        return found[0]

    def manifest(self, name: str = "", platform: Platform | None = None) -> Descriptor:
        """The manifest of the image of this name, out of an index for several platforms.

        :param platform: this machine's unless given; the only image there is needs none
        :raises Missing: no such name, or nothing for that platform
        """
        found = manifests(self.blobs, self.find(name))
        images = [d for d in found if d.platform is None or d.platform.os != "unknown"]  # buildkit's attestations
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
    """What an image itself says; None for what is no image."""
    config = Manifest.parse(read(blobs, manifest), manifest.media_type).config
    return ImageConfig.parse(read(blobs, config)).platform if media.kind(config.media_type) == "config" else None


def _names(entry: Descriptor) -> list[str]:
    return [n for n in (entry.annotations.get(REF_NAME), entry.annotations.get(IMAGE_NAME)) if n]


def _means(name: str) -> str | None:
    try:
        return str(Reference.parse(name)) if name else None
    except InvalidReference:
        return None
