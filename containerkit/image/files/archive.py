"""A docker-archive: the file that `docker save` writes and `docker load` reads.

    with Archive.open("kubia.tar") as archive:
        archive.names, archive.manifest("kubia:latest")
    write("copy.tar", [(named(entry, "app:1"), blobs)])

The archive's manifest.json names a config and layers by path.  Since docker 25 the archive is an OCI layout as well: an OCI
manifest that fits is used as it is.  Otherwise one is made, always with the same bytes; config and layers keep theirs.
:see: https://github.com/moby/docker-image-spec
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import BinaryIO

from ...base.frozen import frozen
from .. import media
from ..blobs import Blobs, MemoryBlobs, read
from ..config import ImageConfig
from ..content import Found, below, manifests, reach
from ..descriptor import Descriptor
from ..digest import CHUNK, Digest
from ..documents import Fields, dump, parse
from ..errors import InvalidDocument, InvalidImage, Missing, Unsupported
from ..manifest import Manifest
from ..reference import Reference
from .blob_union import BlobUnion
from .layout import INDEX_JSON, OCI_LAYOUT, Items, TarBlobs, index_of, marker
from .named_images import IMAGE_NAME, NamedImages, name_of, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..tar.tarball import Tarball

__all__ = ["Archive", "write"]

StrPath = str | os.PathLike[str]
MANIFEST_JSON, REPOSITORIES = "manifest.json", "repositories"


@frozen
class _Item:
    """One image of a manifest.json: paths in the archive, and names."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def from_json(cls, value: object, where: str) -> _Item:
        fields = Fields(value, where)
        return cls(fields.text("Config"), fields.texts("Layers"), fields.texts("RepoTags"))


class Lacking(Missing):
    """A docker-archive that names files which are not in it.  The file is an archive, so no other format is tried."""


class Archive(NamedImages):
    """A docker-archive that exists."""

    entries: tuple[Descriptor, ...] = ()

    def __init__(self, tarball: Tarball) -> None:
        self._tarball, self._made = tarball, MemoryBlobs()
        self._places: dict[Digest, str] = {}
        inside = TarBlobs(tarball, self._places)
        self.blobs: Blobs = BlobUnion({}, self._made, inside)
        self._offered = list(_offered(tarball, inside))
        items = _items(tarball)
        try:
            self.entries = tuple(entry for item in items for entry in self._entries(item))
        except Missing as error:
            raise Lacking(f"{MANIFEST_JSON} names a file that is missing: {error}") from error

    @classmethod
    def open(cls, path: StrPath) -> Archive:
        """Open a docker-archive.

        :param path: a tar, which may be compressed
        :raises Missing: the file is not a docker-archive
        :raises Unsupported: the archive is from docker before 1.10
        :raises ImageError: the archive cannot be read; the subclass says why
        """
        from ..tar.tarball import Tarball

        with Tarball(path).closed_on_error() as tarball:
            return cls(tarball)

    def close(self) -> None:
        """Close the file.  Blobs cannot be opened any more."""
        self._tarball.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def _entries(self, item: _Item) -> Iterator[Descriptor]:
        data = self._tarball.read(item.config)
        config, parsed = Descriptor.of(data, media.DOCKER_CONFIG), ImageConfig.parse(data)
        if len(item.layers) != len(parsed.diff_ids):
            raise InvalidImage([f"{MANIFEST_JSON} has {len(item.layers)} layers, the config {len(parsed.diff_ids)} diff_ids"])
        self._places[config.digest] = item.config
        manifest = self._manifest_of(config.digest, len(item.layers)) or self._make(config, item, parsed)
        entry = manifest.with_(platform=parsed.platform, annotations={})
        yield from (named(entry, str(Reference.parse(name))) for name in item.names)
        if not item.names:
            yield entry

    def _manifest_of(self, config: Digest, layers: int) -> Descriptor | None:
        """Return the archive's own OCI manifest for this config.  Docker 25.0 wrote some without layers: those are ignored."""
        for descriptor, manifest in self._offered:
            if manifest.config.digest == config and len(manifest.layers) == layers:
                return descriptor
        return None

    def _make(self, config: Descriptor, item: _Item, parsed: ImageConfig) -> Descriptor:
        layers = [self._layer(path, diff_id) for path, diff_id in zip(item.layers, parsed.diff_ids, strict=True)]
        return self._made.add(Manifest(config, tuple(layers), media.DOCKER_MANIFEST).data, media.DOCKER_MANIFEST)

    def _layer(self, path: str, diff_id: Digest) -> Descriptor:
        """Describe a layer.  A plain one is named by its diff_id and checked when it is read; a compressed one is hashed now."""
        size = self._tarball.find(path).size
        with self._tarball.open(path) as section:
            compression = media.sniff(section.read(6))
        if compression not in ("none", "gzip", "zstd"):
            raise Unsupported(f"{path} is compressed with {compression}: a layer is plain, gzip or zstd")
        digest = diff_id if compression == "none" else self._digest(path)
        self._places[digest] = path
        return Descriptor(media.layer(compression, docker=True), digest, size)

    def _digest(self, path: str) -> Digest:
        hasher = Digest.of(b"").hasher()
        with self._tarball.open(path) as section:
            while data := section.read(CHUNK):
                hasher.update(data)
        return Digest.finish(hasher)


def _items(tarball: Tarball) -> list[_Item]:
    if MANIFEST_JSON not in tarball and REPOSITORIES in tarball:
        raise Unsupported(f"{tarball.path} was saved by docker before 1.10, with docker schema 1: save it again with a newer one")
    # parse() wants an object and this document is a list, so the list becomes a field and is checked as strictly
    fields = Fields(parse(b'{"images":' + tarball.read(MANIFEST_JSON) + b"}", MANIFEST_JSON), MANIFEST_JSON)
    items = [_Item.from_json(value, where) for value, where in fields.objects("images")]
    if fields.rest():
        raise InvalidDocument(f"{MANIFEST_JSON}: expected one list")
    return items


def _offered(tarball: Tarball, blobs: Blobs) -> Iterator[tuple[Descriptor, Manifest]]:
    """Yield the archive's own OCI manifests, at any depth; an archive without an OCI layout has none."""
    if INDEX_JSON not in tarball or OCI_LAYOUT not in tarball:
        return
    index = tarball.read(INDEX_JSON)
    for entry in below(Descriptor.of(index, media.OCI_INDEX), index):
        for descriptor in manifests(blobs, entry) if blobs.has(entry.digest) else ():
            yield descriptor, Manifest.parse(read(blobs, descriptor), descriptor.media_type)


# Writing --------------------------------------------------------------------------------------------------------


def write(path: StrPath | BinaryIO, items: Items) -> None:
    """Write images in the form that docker, podman and skopeo load: an OCI layout with a manifest.json.

    Manifests, configs and layers keep their bytes.  Docker before 23 loads gzip and plain layers only.

    :param path: a file, which appears complete, or an open one that need not be seekable
    :param items: images, not indexes, with their names as annotations (see `named`), each with its blobs
    :raises Unsupported: an item is an index, or an artifact
    :raises ImageError: a blob is missing, or does not match its digest
    """
    import json

    items = list(items)
    found: list[tuple[Found, Blobs]] = [(each, blobs) for entry, blobs in items for each in reach(blobs, entry)]
    images = _images(items)
    files = {
        OCI_LAYOUT: marker(),
        INDEX_JSON: index_of(_described(entry) for entry, _ in items),
        MANIFEST_JSON: json.dumps(images, separators=(",", ":")).encode(),
        REPOSITORIES: dump(_repositories(images)),
    }
    if isinstance(path, str | os.PathLike):
        from ..tar.blobs_tar import tar_file

        tar_file(path, files, found)
    else:
        from ..tar.blobs_tar import tar_stream

        tar_stream(path, files, found)


def _images(items: Items) -> list[dict[str, object]]:
    """Return the content of manifest.json.  An image with several names occurs once."""
    found: dict[Digest, dict[str, object]] = {}
    for entry, blobs in items:
        if media.kind(entry.media_type) != "manifest":
            raise Unsupported(f"a docker-archive holds images for one platform each, but {entry} is an index: choose one of its images")
        manifest = Manifest.parse(read(blobs, entry), entry.media_type)
        if manifest.is_artifact:
            raise Unsupported(f"a docker-archive holds images to run, not {manifest.kind}")
        layers = [_place(layer) for layer in manifest.layers]
        image = found.setdefault(entry.digest, {"Config": _place(manifest.config), "RepoTags": [], "Layers": layers})
        if (name := _full(entry)) and name not in image["RepoTags"]:  # type: ignore[operator]
            image["RepoTags"].append(name)  # type: ignore[attr-defined]
    return list(found.values())


def _place(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"


def _full(entry: Descriptor) -> str:
    """Return the full name, because podman reads a short name as one of its own, and docker as one of docker.io."""
    name = name_of(entry)
    return str(Reference.parse(name)) if name else ""


def _described(entry: Descriptor) -> Descriptor:
    """Return the entry with the annotations that docker and containerd look for."""
    if not (name := name_of(entry)):
        return entry
    reference = Reference.parse(name)
    plain = named(entry, reference.tag or str(reference))
    return plain.with_(annotations={IMAGE_NAME: str(reference), **plain.annotations})


def _repositories(images: Iterable[Mapping[str, object]]) -> dict[str, dict[str, str]]:
    """Return the document that docker before 1.10 reads: repository -> tag -> the topmost layer."""
    found: dict[str, dict[str, str]] = {}
    for image in images:
        tags, layers = image["RepoTags"], image["Layers"]
        assert isinstance(tags, list)
        assert isinstance(layers, list)
        for tag in tags:
            repository, _, last = tag.rpartition(":")
            found.setdefault(repository, {})[last] = os.path.basename(layers[-1]) if layers else ""
    return found
