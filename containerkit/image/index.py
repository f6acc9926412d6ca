"""An index: one name for the images of many machines, and for what is said about them.

    index = Index.load(blobs, descriptor)
    index.match("linux/arm64")             the descriptor of the manifest to take
    index.image("linux/arm64")             the Image itself
    Index.of([image, other])               a new one

:see: https://github.com/opencontainers/image-spec/blob/main/image-index.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..base.frozen import FrozenDict, field, frozen, replace
from . import media
from .blobs import Blobs, MemoryBlobs, read
from .config import ImageConfig
from .descriptor import Descriptor
from .digest import Digest
from .documents import dump
from .errors import ImageError, InvalidDocument, InvalidImage, LimitExceeded, Missing
from .image import Image
from .manifest import Manifest, common, opened, written
from .platform import Platform

__all__ = ["Index"]

DEEPEST = 8  # indexes in indexes
MOST = 4096  # manifests that one index leads to
_NOWHERE = MemoryBlobs()


@frozen
class Index:
    """One name for the images of many machines.  Equal when the bytes are.

    :param manifests: descriptors of manifests, and of other indexes
    :param media_type: OCI's or docker's
    :param extra: fields not known here, kept as they are
    :param data: the bytes as they were stored; made of the other fields where not given
    :param source: where the manifests are
    """

    manifests: tuple[Descriptor, ...]
    media_type: str = media.OCI_INDEX
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    data: bytes = field(default=b"", repr=False)
    source: Blobs = field(default=_NOWHERE, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "manifests", tuple(self.manifests))
        object.__setattr__(self, "annotations", FrozenDict(self.annotations))
        object.__setattr__(self, "extra", FrozenDict(self.extra))
        if not self.data:
            object.__setattr__(self, "data", dump(self.to_json()))

    @classmethod
    def parse(cls, data: bytes, media_type: str = "", source: Blobs = _NOWHERE) -> Index:
        """From the bytes of an index or of docker's manifest list.

        :param media_type: what whoever points at it says it is; what it says itself must be the same
        :raises InvalidDocument: not an index, or one that can be read in two ways
        :raises LimitExceeded: over 4 MiB, nested too deep, too many manifests
        """
        fields, media_type = opened(data, media_type, "index")
        manifests = fields.objects("manifests")
        if len(manifests) > MOST:
            raise LimitExceeded("index.manifests", MOST, "of them")
        parts = tuple(Descriptor.from_json(value, where) for value, where in manifests)
        return cls(parts, media_type, **common(fields), data=bytes(data), source=source)

    @classmethod
    def load(cls, blobs: Blobs, descriptor: Descriptor) -> Index:
        """The index that `descriptor` points at.  Only the index itself is read.  :raises ImageError: it cannot be"""
        return cls.parse(read(blobs, descriptor), descriptor.media_type, blobs)

    @classmethod
    def of(cls, parts: Iterable[Image | Index], *, docker: bool = False, annotations: Mapping[str, str] | None = None) -> Index:
        """An index of images, and of other indexes.

        :param docker: docker's manifest list rather than OCI's index
        """
        from .files.blob_union import BlobUnion

        parts = tuple(parts)
        kind = media.DOCKER_LIST if docker else media.OCI_INDEX
        source = BlobUnion({}, *(part.blobs for part in parts))
        return cls(tuple(part.descriptor for part in parts), kind, annotations or {}, source=source)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, in the order the specification has; what is empty is left out."""
        return written(self, {"manifests": [each.to_json() for each in self.manifests]})

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    @property
    def descriptor(self) -> Descriptor:
        """What points at this index."""
        return Descriptor.of(self.data, self.media_type, artifact_type=self.artifact_type)

    @property
    def blobs(self) -> Blobs:
        """Everything the index leads to, and itself."""
        from .files.blob_union import BlobUnion

        return BlobUnion({self.digest: MemoryBlobs({self.digest: self.data})}, self.source)

    def append(self, *parts: Image | Index) -> Index:
        """With more manifests."""
        from .files.blob_union import BlobUnion

        source = BlobUnion({}, *(part.blobs for part in parts), self.source)
        return replace(self, manifests=self.manifests + tuple(part.descriptor for part in parts), data=b"", source=source)

    def with_annotations(self, annotations: Mapping[str, str | None]) -> Index:
        """With more annotations; one that is None goes."""
        together = {name: value for name, value in {**self.annotations, **annotations}.items() if value is not None}
        return replace(self, annotations=together, data=b"")

    def leaves(self) -> Iterator[Descriptor]:
        """The manifests it leads to, also through other indexes, each once.

        :raises LimitExceeded: more than 4096 of them, or indexes nested more than 8 deep
        :raises ImageError: an index in it cannot be read
        """
        seen: set[Digest] = set()
        yield from self._leaves(seen, DEEPEST)

    def _leaves(self, seen: set[Digest], depth: int) -> Iterator[Descriptor]:
        if not depth:
            raise LimitExceeded("indexes in indexes", DEEPEST, "levels")
        for each in self.manifests:
            media.refuse_schema1(each.media_type)
            if each.digest in seen:
                continue
            seen.add(each.digest)
            if len(seen) > MOST:
                raise LimitExceeded("what an index leads to", MOST, "manifests")
            if media.kind(each.media_type) == "index":
                yield from Index.load(self.source, each)._leaves(seen, depth - 1)
            elif media.kind(each.media_type) == "manifest":
                yield each

    def match(self, platform: Platform | str | None = None) -> Descriptor:
        """The manifest of the image that runs best on a platform.

        Where an entry does not say what it is for, its config is asked.

        :param platform: this machine's by default
        :raises Missing: there is none; the text says which there are
        """
        wanted = Platform.parse(platform) if isinstance(platform, str) else platform or Platform.here()
        found = list(self.leaves())
        offered = [each.platform or self._asked(each) for each in found]
        place = wanted.best(offered)
        if place is None:
            there = ", ".join(sorted({str(each) for each in offered if each and each.os != "unknown"})) or "none at all"
            raise Missing(f"the index has no image for {wanted}: there are {there}")
        return found[place]

    def image(self, platform: Platform | str | None = None) -> Image:
        """The image that runs best on a platform.  :raises ImageError: there is none, or it cannot be read"""
        return Image.load(self.source, self.match(platform))

    def images(self) -> Iterator[Image]:
        """All images it leads to; what is no image is passed over."""
        for each in self.leaves():
            image = Image.load(self.source, each)
            if not image.manifest.is_artifact:
                yield image

    def validate(self, *, layers: bool = True) -> None:
        """Check all images it leads to, against what is said about them too.

        :param layers: read the layers too, decompressed
        :raises InvalidImage: something does not fit; its `mismatches` are all there are
        """
        if found := [text for each in self.leaves() for text in self._mismatches(each, layers)]:
            raise InvalidImage(found)

    def _mismatches(self, descriptor: Descriptor, layers: bool) -> list[str]:
        from .validate import mismatches

        try:
            found = mismatches(Image.load(self.source, descriptor), said=descriptor, layers=layers)
        except ImageError as error:
            found = (str(error),)
        return [f"{descriptor.platform or 'manifest'} {descriptor.digest.short}: {text}" for text in found]

    def _asked(self, descriptor: Descriptor) -> Platform | None:
        """What the config says; None for an artifact, and for one that is not here."""
        try:
            manifest = Manifest.parse(read(self.source, descriptor), descriptor.media_type)
            return None if manifest.is_artifact else ImageConfig.parse(read(self.source, manifest.config)).platform
        except (Missing, InvalidDocument):
            return None

    def __str__(self) -> str:
        lines = [f"index {self.digest.algorithm}:{self.digest.short}, {len(self.manifests)} manifests"]
        for each in self.manifests:
            what = str(each.platform or "") or each.artifact_type or media.kind(each.media_type)
            lines.append(f"  {each.digest.algorithm}:{each.digest.short}  {what}")
        return "\n".join(lines)
