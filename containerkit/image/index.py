"""An index: one name for the images of several platforms, and for artifacts about them.

    index = Index.load(blobs, descriptor)
    index.match("linux/arm64")             the descriptor of the best manifest
    index.image("linux/arm64")             the Image itself
    Index.of([image, other])               a new index

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

DEEPEST = 8  # nested indexes
MOST = 4096  # manifests behind one index
_NOWHERE = MemoryBlobs()


@frozen
class Index:
    """One name for the images of several platforms.  Two indexes are equal when their bytes are.

    :param manifests: descriptors of manifests, and of other indexes
    :param media_type: OCI's or docker's
    :param extra: fields that are not known here, unchanged
    :param data: the stored bytes; unless given, made of the other fields
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
        """Parse the bytes of an index, or of docker's manifest list.

        :param media_type: the type in the descriptor that names the index; the document must not declare another one
        :param source: where the manifests are
        :raises InvalidDocument: `data` is not an index, or can be read in two ways
        :raises LimitExceeded: `data` is over 4 MiB, nested too deep, or has too many manifests
        """
        fields, media_type = opened(data, media_type, "index")
        manifests = fields.objects("manifests")
        if len(manifests) > MOST:
            raise LimitExceeded("index.manifests", MOST, "of them")
        parts = tuple(Descriptor.from_json(value, where) for value, where in manifests)
        return cls(parts, media_type, **common(fields), data=bytes(data), source=source)

    @classmethod
    def load(cls, blobs: Blobs, descriptor: Descriptor) -> Index:
        """Load the index that `descriptor` points at.  Only the index itself is read.

        :raises ImageError: the index cannot be read
        """
        return cls.parse(read(blobs, descriptor), descriptor.media_type, blobs)

    @classmethod
    def of(cls, parts: Iterable[Image | Index], *, docker: bool = False, annotations: Mapping[str, str] | None = None) -> Index:
        """Make an index of images and of other indexes.

        :param docker: make docker's manifest list rather than OCI's index
        """
        from .files.blob_union import BlobUnion

        parts = tuple(parts)
        kind = media.DOCKER_LIST if docker else media.OCI_INDEX
        source = BlobUnion({}, *(part.blobs for part in parts))
        return cls(tuple(part.descriptor for part in parts), kind, annotations or {}, source=source)

    def to_json(self) -> dict[str, Any]:
        """Return the index as a JSON object in the specification's order, without empty fields."""
        return written(self, {"manifests": [each.to_json() for each in self.manifests]})

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of this index."""
        return Descriptor.of(self.data, self.media_type, artifact_type=self.artifact_type)

    @property
    def blobs(self) -> Blobs:
        """The index itself and all blobs behind it."""
        from .files.blob_union import BlobUnion

        return BlobUnion({self.digest: MemoryBlobs({self.digest: self.data})}, self.source)

    def append(self, *parts: Image | Index) -> Index:
        """Return the index with more manifests."""
        from .files.blob_union import BlobUnion

        source = BlobUnion({}, *(part.blobs for part in parts), self.source)
        return replace(self, manifests=self.manifests + tuple(part.descriptor for part in parts), data=b"", source=source)

    def with_annotations(self, annotations: Mapping[str, str | None]) -> Index:
        """Return the index with more annotations; a value of None removes one."""
        together = {name: value for name, value in {**self.annotations, **annotations}.items() if value is not None}
        return replace(self, annotations=together, data=b"")

    def leaves(self) -> Iterator[Descriptor]:
        """Yield the manifests behind the index, also through nested indexes, each once.

        :raises LimitExceeded: more than 4096 manifests, or indexes nested more than 8 deep
        :raises ImageError: a nested index cannot be read
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
                raise LimitExceeded("manifests behind an index", MOST, "of them")
            if media.kind(each.media_type) == "index":
                yield from Index.load(self.source, each)._leaves(seen, depth - 1)
            elif media.kind(each.media_type) == "manifest":
                yield each

    def match(self, platform: Platform | str | None = None) -> Descriptor:
        """Return the descriptor of the image that runs best on a platform.

        The platform of an entry without one is read from the image's config.

        :param platform: this machine's by default
        :raises Missing: no image runs on that platform; the message lists the platforms that the index has
        """
        wanted = Platform.parse(platform) if isinstance(platform, str) else platform or Platform.here()
        found = list(self.leaves())
        offered = [each.platform or self._asked(each) for each in found]
        place = wanted.best(offered)
        if place is None:
            there = ", ".join(sorted({str(each) for each in offered if each and each.os != "unknown"})) or "none at all"
            raise Missing(f"the index has no image for {wanted}: it has {there}")
        return found[place]

    def image(self, platform: Platform | str | None = None) -> Image:
        """Load the image that runs best on a platform.

        :raises ImageError: no image runs on that platform, or it cannot be read
        """
        return Image.load(self.source, self.match(platform))

    def images(self) -> Iterator[Image]:
        """Yield all images behind the index.  Artifacts are left out."""
        for each in self.leaves():
            image = Image.load(self.source, each)
            if not image.manifest.is_artifact:
                yield image

    def validate(self, *, layers: bool = True) -> None:
        """Check all images behind the index, also against their entries in it.

        :param layers: also read the layers, and check their decompressed bytes
        :raises InvalidImage: at least one check failed; `mismatches` lists all that failed
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
        """Return the platform in an image's config; None for an artifact, and for an image that is absent."""
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
