"""Checks of an image: every claim of its documents against the other claims and against the bytes.

    image.validate()           raises InvalidImage with all mismatches
    mismatches(image)          the mismatches as texts, () for a valid image

:see: https://github.com/opencontainers/image-spec
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..base import late
from . import media
from .config import ImageConfig
from .descriptor import Descriptor
from .digest import CHUNK, Digest, Readable
from .errors import ImageError
from .limits import Limits
from .manifest import Manifest

if TYPE_CHECKING:
    from .compression.compression import Decompressed
    from .image import Image

__all__ = ["RFC3339", "mismatches"]

RFC3339 = late.pattern(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
FIELDS = ("config", "layers", "annotations", "artifact_type", "subject", "extra")
PORT = late.pattern(r"\d{1,5}(-\d{1,5})?(/(tcp|udp|sctp))?", re.ASCII)


def mismatches(image: Image, *, layers: bool = True, said: Descriptor | None = None, limits: Limits | None = None) -> tuple[str, ...]:
    """Return everything in an image that contradicts something else, one text each.

    :param layers: also read the layers, decompressed, entry by entry
    :param said: an index's descriptor of the image
    :param limits: the most that a layer may use
    """
    found = [*_manifest(image.manifest), *_pointers(image, said)]
    if not image.manifest.is_artifact:
        found += [*_counts(image), *_config(image.config), *_types(image.manifest)]
    if layers:
        found += _blobs(image, limits or Limits.default())
    return tuple(dict.fromkeys(found))


def _manifest(manifest: Manifest) -> Iterator[str]:
    """Check a manifest alone."""
    if (stored := Manifest.parse(manifest.data, manifest.media_type)) != manifest:
        names = [
            name
            for name in ("config", "layers", "annotations", "artifact_type", "subject")
            if getattr(stored, name) != getattr(manifest, name)
        ]
        yield f"manifest: its bytes say otherwise than its fields: {', '.join(names)}"
    if manifest.subject and media.kind(manifest.subject.media_type) not in ("manifest", "index"):
        yield f"manifest.subject: {manifest.subject.media_type!r} is not the type of a manifest"
    kind = media.kind(manifest.config.media_type)
    if kind == "empty" and manifest.config.bare() != Descriptor.empty().bare():
        yield f"manifest.config: the empty descriptor is {Descriptor.empty().digest} of 2 bytes, not {manifest.config.digest}"
    if kind == "empty" and not manifest.artifact_type:
        yield "manifest.artifactType: missing; it is needed where the config is empty"
    if kind in ("layer", "manifest", "index"):
        yield f"manifest.config: {manifest.config.media_type!r} is the type of a {kind}"


def _pointers(image: Image, said: Descriptor | None) -> Iterator[str]:
    """Check the config against the manifest, and the manifest against the index that names it."""
    yield from _bytes("config", image.manifest.config, image.config_data)
    if not said:
        return
    yield from _bytes("manifest", said, image.data)
    if said.media_type != image.media_type:
        yield f"manifest.mediaType: {image.media_type!r}, but its descriptor says {said.media_type!r}"
    if said.artifact_type and said.artifact_type != image.manifest.kind:
        yield f"artifactType: {image.manifest.kind!r}, but its descriptor says {said.artifact_type!r}"
    if said.platform and not image.manifest.is_artifact and said.platform.normal != image.platform.normal:
        yield f"platform: the config says {image.platform}, its descriptor {said.platform}"


def _bytes(what: str, said: Descriptor, data: bytes) -> Iterator[str]:
    if said.size != len(data):
        yield f"{what}: {len(data)} bytes, but its descriptor says {said.size}"
    if (found := Digest.of(data, said.digest.algorithm)) != said.digest:
        yield f"{what}: its digest is {found}, but its descriptor says {said.digest}"


def _counts(image: Image) -> Iterator[str]:
    descriptors, diff_ids, history = image.manifest.layers, image.config.diff_ids, image.config.history
    if len(descriptors) != len(diff_ids):
        yield f"the manifest has {len(descriptors)} layers, the config {len(diff_ids)} diff_ids"
    if history and (count := sum(not entry.empty_layer for entry in history)) != len(diff_ids):
        yield f"config.history: {count} entries with a layer, but {len(diff_ids)} diff_ids"
    for first, second in _twice(descriptors):
        if len(descriptors) == len(diff_ids) and diff_ids[first] != diff_ids[second]:
            yield f"layers {first} and {second} are the same blob, but their diff_ids differ"
        if descriptors[first].size != descriptors[second].size:
            yield f"layers {first} and {second} are the same blob, but their sizes differ"


def _twice(descriptors: Iterable[Descriptor]) -> Iterator[tuple[int, int]]:
    first: dict[Digest, int] = {}
    for place, descriptor in enumerate(descriptors):
        if descriptor.digest in first:
            yield first[descriptor.digest], place
        first.setdefault(descriptor.digest, place)


def _config(config: ImageConfig) -> Iterator[str]:
    """Check a config alone."""
    moments = [("config.created", config.created)]
    moments += [(f"config.history[{place}].created", entry.created) for place, entry in enumerate(config.history)]
    yield from (f"{where}: {moment[:60]!r} is no date of RFC 3339" for where, moment in moments if moment and not RFC3339.fullmatch(moment))
    for place, entry in enumerate(config.env):
        if "=" not in entry[1:] or "\0" in entry:
            yield f"config.config.Env[{place}]: {entry[:60]!r} is not NAME=value"
    yield from (f"config.config.ExposedPorts: {port[:60]!r} is no port" for port in config.exposed_ports if not PORT.fullmatch(port))


def _types(manifest: Manifest) -> Iterator[str]:
    """Check the media types: all of one family, and each of the kind its field needs."""
    docker = media.is_docker(manifest.media_type)
    for where, descriptor, kind in _parts(manifest):
        if media.kind(descriptor.media_type) != kind:
            yield f"{where}: {descriptor.media_type!r} is not the type of a {kind}"
        elif media.is_docker(descriptor.media_type) != docker:
            yield f"{where}: {descriptor.media_type!r} in a manifest of type {manifest.media_type!r}"


def _parts(manifest: Manifest) -> Iterator[tuple[str, Descriptor, str]]:
    yield "manifest.config", manifest.config, "config"
    for place, descriptor in enumerate(manifest.layers):
        yield f"manifest.layers[{place}]", descriptor, "layer"


def _blobs(image: Image, limits: Limits) -> list[str]:
    """Check the bytes of the layers.  Several are read at once, because hashing and decompressing release the interpreter's lock."""
    from concurrent.futures import ThreadPoolExecutor

    if image.manifest.is_artifact:
        work = [(place, descriptor, None) for place, descriptor in enumerate(image.manifest.layers)]
    else:
        diff_ids: list[Any] = [*image.config.diff_ids, *[None] * len(image.manifest.layers)]
        work = [(place, descriptor, diff_ids[place]) for place, descriptor in enumerate(image.manifest.layers)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "containerkit-validate") as pool:
        return [text for found in pool.map(lambda each: _layer(image, limits, *each), work) for text in found]


def _layer(image: Image, limits: Limits, place: int, descriptor: Descriptor, diff_id: Digest | None) -> list[str]:
    where = f"layer {place} ({descriptor.digest.algorithm}:{descriptor.digest.short})"
    if media.is_foreign(descriptor.media_type) and not image.source.has(descriptor.digest):
        return []
    is_tar = not image.manifest.is_artifact and media.kind(descriptor.media_type) == "layer"
    try:
        with contextlib.closing(image.source.open(descriptor)) as stream:
            found = list(_unpacked(stream, descriptor, diff_id, limits)) if is_tar else []
            while stream.read(CHUNK):  # a verifier raises its Mismatch again: wrong bytes explain every other fault
                pass
    except (ImageError, OSError) as error:
        found = [str(error)]
    return [f"{where}: {text}" for text in found]


def _unpacked(stream: Readable, descriptor: Descriptor, diff_id: Digest | None, limits: Limits) -> Iterator[str]:
    """Check the bytes while they are decompressed: their compression, their digest, and whether they are a tar."""
    from .compression.compression import Decompressed

    try:
        hashed = _Hashed(Decompressed(stream, "", limits=limits), diff_id)
        if (said := media.compression(descriptor.media_type)) != hashed.stream.compression:
            yield f"its type says {said}, its bytes are {hashed.stream.compression}"
        yield from _not_tar(hashed, limits)
        while hashed.read(CHUNK):
            pass
    except ImageError as error:
        yield str(error)
        return
    if diff_id and (found := Digest.finish(hashed.hasher)) != diff_id:
        yield f"decompressed its digest is {found}, but the config's diff_id says {diff_id}"


def _not_tar(hashed: _Hashed, limits: Limits) -> Iterator[str]:
    from .tar.tar import Reader

    try:
        for _ in Reader(hashed, limits):
            pass
    except ImageError as error:
        yield str(error)


class _Hashed:
    """A stream that computes the digest of the bytes read through it."""

    def __init__(self, stream: Decompressed, like: Digest | None) -> None:
        self.stream, self.hasher = stream, (like or Digest.of(b"")).hasher()

    def read(self, size: int = -1, /) -> bytes:
        data = self.stream.read(size)
        self.hasher.update(data)
        return data
